package smi_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// shop is the stage of the access tests: a store, and those who come to it.
const shop = `
{kind: ServiceAccount, metadata: {namespace: store, name: store}}
---
{kind: ServiceAccount, metadata: {namespace: store, name: clerk}}
---
{kind: ServiceAccount, metadata: {namespace: people, name: reader}}
---
{kind: ServiceAccount, metadata: {namespace: people, name: thief}}
---
{kind: ServiceAccount, metadata: {namespace: people, name: clerk}}
---
kind: HTTPRouteGroup
metadata: {namespace: store, name: books}
spec:
  matches:
  - {name: list, pathRegex: /books$, methods: [GET]}
  - {name: buy, pathRegex: /buy$, methods: [POST]}
  - {name: any-method, pathRegex: /any$, methods: [GET, "*"]}
  - {name: beta, pathRegex: /beta$, headers: [{X-Beta: "on|yes"}, {Host: store}]}
---
{kind: TCPRoute, metadata: {namespace: store, name: web}, spec: {matches: {ports: [8080, 8081]}}}
---
{kind: TCPRoute, metadata: {namespace: store, name: admin}, spec: {matches: {ports: [9000]}}}
---
{kind: TCPRoute, metadata: {namespace: store, name: all}, spec: {matches: {ports: []}}}
---
`

const (
	toStore  = "destination: {kind: ServiceAccount, name: store}"
	byReader = "sources: [{kind: ServiceAccount, name: reader, namespace: people}]"
)

// target writes a TrafficTarget of namespace store.
func target(name string, spec ...string) string {
	return "\n---\nkind: TrafficTarget\nmetadata: {namespace: store, name: " + name + "}\nspec:\n  " + strings.Join(spec, "\n  ") + "\n"
}

// Each case is named by the smi-rules it tests. A request is
// "namespace/account port METHOD path header=value...", its verdict the rule
// that allows it or the reason of the denial.
var accessCases = []struct {
	name      string
	manifests string
	requests  map[string]string
	problems  []string
}{{
	name:     "1: nothing is allowed until a target says so",
	requests: map[string]string{"people/reader 8080 GET /books": "policy"},
}, {
	name:      "7, 8, 10, 13, 19: all matches, for the source that is listed",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books}]"),
	requests: map[string]string{
		"people/reader 8080 GET /books":                      "store/t",
		"people/reader 9 POST /buy":                          "store/t",
		"people/reader 8080 POST /books":                     "method",
		"people/reader 8080 GET /":                           "path",
		"people/reader 8080 PATCH /any":                      "store/t",
		"people/reader 8080 GET /beta x-beta=on host=store":  "store/t",
		"people/reader 8080 GET /beta x-beta=off host=store": "header",
		"people/reader 8080 GET /beta host=store":            "header",
		"people/thief 8080 GET /books":                       "source",
		"store/reader 8080 GET /books":                       "source",
	},
}, {
	name: "5, 6: targets add up",
	manifests: target("a", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books, matches: [list]}]") +
		target("b", toStore, "sources: [{kind: ServiceAccount, name: thief, namespace: people}]", "rules: [{kind: HTTPRouteGroup, name: books, matches: [buy]}]"),
	requests: map[string]string{
		"people/reader 1 GET /books": "store/a", "people/reader 1 POST /buy": "path",
		"people/thief 1 POST /buy": "store/b", "people/thief 1 GET /books": "path",
	},
}, {
	name:      "10, 12: a source's namespace is the target's if left out",
	manifests: target("t", toStore, "sources: [{kind: ServiceAccount, name: clerk}]", "rules: [{kind: TCPRoute, name: all}]"),
	requests:  map[string]string{"store/clerk 1 GET /": "store/t", "people/clerk 1 GET /": "source"},
}, {
	name:      "14: a target opens nobody else's namespace",
	manifests: target("t", "destination: {kind: ServiceAccount, name: clerk, namespace: people}", byReader, "rules: [{kind: TCPRoute, name: all}]"),
	requests:  map[string]string{"people/reader 1 GET /": "policy"},
	problems:  []string{"inert TrafficTarget store/t: spec.destination.namespace: the destination is in namespace people, and"},
}, {
	name: "15: routes of other namespaces are not found",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: theirs}]") +
		"\n---\n{kind: HTTPRouteGroup, metadata: {namespace: people, name: theirs}, spec: {matches: [{name: all, methods: [GET]}]}}",
	requests: map[string]string{"people/reader 1 GET /": "policy"},
	problems: []string{`inert TrafficTarget store/t: spec.rules[0].name: HTTPRouteGroup "theirs" does not exist in namespace store. The rule grants nothing until it does. There is one of that name in namespace people.`},
}, {
	name:      "16: no sources, no rules",
	manifests: target("t", toStore, "sources: []", "rules: []"),
	requests:  map[string]string{"people/reader 1 GET /books": "policy"},
	problems:  []string{"inert TrafficTarget store/t: spec.rules: no rule", "inert TrafficTarget store/t: spec.sources: no source"},
}, {
	name:      "17: unknown destination kind",
	manifests: target("t", "destination: {kind: Group, name: store}", byReader, "rules: [{kind: TCPRoute, name: all}]"),
	requests:  map[string]string{"people/reader 1 GET /": "policy"},
	problems:  []string{`inert TrafficTarget store/t: spec.destination.kind: destination kind "Group" is not served`},
}, {
	name: "18: unknown or missing sources are left out, the others stay",
	manifests: target("t", toStore, "sources: [{kind: Group, name: reader, namespace: people}, {kind: ServiceAccount, name: theif, namespace: people}, "+
		"{kind: ServiceAccount, name: reader, namespace: people}, {kind: ServiceAccount, name: reader, namespace: people}]", "rules: [{kind: TCPRoute, name: all}]"),
	requests: map[string]string{"people/reader 1 GET /": "store/t", "people/thief 1 GET /": "source", "people/theif 1 GET /": "source"},
	problems: []string{
		`inert TrafficTarget store/t: spec.sources[0].kind: source kind "Group"`,
		`inert TrafficTarget store/t: spec.sources[1].name: ServiceAccount "theif" does not exist in namespace people. It is granted nothing until it does. Did you mean "thief"?`,
	},
}, {
	name:      "20: an unknown match grants nothing, the others stay",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books, matches: [lists, buy]}]"),
	requests:  map[string]string{"people/reader 1 GET /books": "path", "people/reader 1 POST /buy": "store/t"},
	problems:  []string{`inert TrafficTarget store/t: spec.rules[0].matches[0]: HTTPRouteGroup "books" has no match "lists". It grants nothing until there is one; the other matches work. Did you mean "list"?`},
}, {
	name:      "21: a missing group grants nothing, not everything",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: bock}, {kind: TCPRoute, name: web}]"),
	requests:  map[string]string{"people/reader 8080 GET /books": "policy"},
	problems:  []string{`inert TrafficTarget store/t: spec.rules[0].name: HTTPRouteGroup "bock" does not exist in namespace store. The rule grants nothing until it does. `},
}, {
	name:      "22: a missing TCPRoute makes the whole target inert",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books}, {kind: TCPRoute, name: web}, {kind: TCPRoute, name: wbe}]"),
	requests:  map[string]string{"people/reader 8080 GET /books": "policy"},
	problems:  []string{`inert TrafficTarget store/t: spec.rules[2].name: TCPRoute "wbe" does not exist in namespace store. The whole target grants nothing until it does. `},
}, {
	name:      "22: so does a rule of unknown kind",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books}, {kind: TCPRoutes, name: web}]"),
	requests:  map[string]string{"people/reader 8080 GET /books": "policy"},
	problems:  []string{`inert TrafficTarget store/t: spec.rules[1].kind: rule kind "TCPRoutes" is unknown. It may be a restriction, so the whole target grants nothing. Did you mean "TCPRoute"?`},
}, {
	name:      "23, 28: port and request must both agree",
	manifests: target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books, matches: [list]}, {kind: TCPRoute, name: web}, {kind: TCPRoute, name: admin}]"),
	requests: map[string]string{
		"people/reader 8080 GET /books": "store/t", "people/reader 9000 GET /books": "store/t",
		"people/reader 8082 GET /books": "port", "people/reader 8080 GET /buy": "path",
	},
}, {
	name:      "24: only a TCPRoute allows every request on its ports",
	manifests: target("t", toStore, byReader, "rules: [{kind: TCPRoute, name: web}]"),
	requests:  map[string]string{"people/reader 8081 DELETE /x": "store/t", "people/reader 8082 DELETE /x": "port"},
}, {
	name:      "27: no ports are every port",
	manifests: target("t", toStore, byReader, "rules: [{kind: TCPRoute, name: all}, {kind: TCPRoute, name: web}]"),
	requests:  map[string]string{"people/reader 65535 GET /": "store/t", "people/reader 1 GET /": "store/t"},
}, {
	name: "27: ports that are no ports are none",
	manifests: target("t", toStore, byReader, "rules: [{kind: TCPRoute, name: odd}]") +
		"\n---\n{kind: TCPRoute, metadata: {namespace: store, name: odd}, spec: {matches: {ports: [0, 70000, -1]}}}",
	requests: map[string]string{"people/reader 0 GET /": "policy", "people/reader 4464 GET /": "policy"},
	problems: []string{"broken TCPRoute store/odd: spec.matches.ports[0]: 0 is", "broken TCPRoute store/odd: spec.matches.ports[1]: 70000 is", "broken TCPRoute store/odd: spec.matches.ports[2]: -1 is"},
}, {
	name:      "30, 31: a UDPRoute opens nothing and spoils nothing",
	manifests: target("t", toStore, byReader, "rules: [{kind: UDPRoute, name: dns}, {kind: TCPRoute, name: web}]") + target("u", toStore, byReader, "rules: [{kind: UDPRoute, name: dns}]"),
	requests:  map[string]string{"people/reader 8080 GET /": "store/t", "people/reader 53 GET /": "port"},
	problems:  []string{"inert TrafficTarget store/t: spec.rules[0].kind: UDPRoutes are not enforced", "inert TrafficTarget store/u: spec.rules[0].kind: UDPRoutes are not enforced"},
}, {
	name:      "a destination that does not exist",
	manifests: target("t", "destination: {kind: ServiceAccount, name: stroe}", byReader, "rules: [{kind: TCPRoute, name: all}]"),
	requests:  map[string]string{"people/reader 1 GET /": "policy"},
	problems:  []string{`inert TrafficTarget store/t: spec.destination.name: ServiceAccount "stroe" does not exist in namespace store. The target grants nothing until it does. `},
}}

func TestAccess(t *testing.T) {
	for _, c := range accessCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, shop+c.manifests), settings)
			wantProblems(t, problems, c.problems...)
			decide(t, snapshot, c.requests)
		})
	}
}

// decide asks for each request at the store.
func decide(t *testing.T, snapshot *mesh.Snapshot, requests map[string]string) {
	t.Helper()
	table := policy.Compile(snapshot.Grants(mesh.Name{Namespace: "store", Name: "store"}))
	for request, want := range requests {
		verdict := table.Decide(parse(t, request))
		got := verdict.Rule
		if !verdict.Allow {
			got = string(verdict.Reason)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", request, got, want)
		}
	}
}

func parse(t *testing.T, request string) policy.Request {
	t.Helper()
	words := strings.Fields(request)
	peer, ok := mesh.ParseName(words[0])
	port := 0
	for _, digit := range words[1] {
		port = port*10 + int(digit-'0')
	}
	if !ok || port > 65535 {
		t.Fatalf("request %q", request)
	}
	r := policy.Request{Peer: mesh.SPIFFEID(settings.TrustDomain, peer), Port: uint16(port), Method: words[2], Path: words[3]}
	for _, header := range words[4:] {
		name, value, _ := strings.Cut(header, "=")
		r.Headers = append(r.Headers, policy.Header{Name: name, Value: value})
	}
	return r
}
