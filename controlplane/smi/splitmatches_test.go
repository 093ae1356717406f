package smi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// matchesOf puts conditions into a split.
func matchesOf(split string, refs ...string) string {
	return strings.Replace(split, "spec: {", "spec: {matches: ["+strings.Join(refs, ", ")+"], ", 1)
}

func groupRef(name string) string { return "{kind: HTTPRouteGroup, name: " + name + "}" }

// more is a second group.
const more = `
---
kind: HTTPRouteGroup
metadata: {namespace: store, name: more}
spec:
  matches:
  - {name: whole, pathRegex: /x, methods: [GET, PUT], headers: [{X-User: "Fire.*"}]}
  - {name: host, headers: [{Host: "store|Shop"}]}
  - {name: version, pathRegex: /y;v=2$}
`

// Each case is named by the smi-rules it tests. A request is "METHOD path
// header=value..." to port 8080 of the root, its answer the split, the match and
// the shares; without a split the root's own endpoints.
var routedCases = []struct {
	name      string
	manifests string
	requests  map[string]string
	problems  []string
}{{
	name:      "73, 74: met or not",
	manifests: matchesOf(splitOf("s", "root", backend("v1", 3), backend("v2", 1)), groupRef("books")),
	requests: map[string]string{
		"GET /books": "s books/list v1=3 v2=1", "POST /buy": "s books/buy v1=3 v2=1",
		"GET /buy": "root=1", "GET /": "root=1", "GET /a%2fb": "reject",
	},
}, {
	name:      "75: several groups add up",
	manifests: more + matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("books"), groupRef("more"), groupRef("more")),
	requests:  map[string]string{"GET /books": "s books/list v1=1", "PUT /x x-user=Firefox": "s more/whole v1=1", "PUT /books": "root=1"},
}, {
	name:      "76: path by its beginning, methods and the whole value of a header, together",
	manifests: more + matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("more")),
	requests: map[string]string{
		"GET /x/y?z x-user=Firefox": "s more/whole v1=1", "PUT /xy x-user=Fire": "s more/whole v1=1",
		"GET /a/../x x-user=Fire": "s more/whole v1=1", "GET /x;p=1 x-user=Fire": "s more/whole v1=1",
		"GET /y;v=2": "s more/version v1=1", "GET /y": "root=1",
		"POST /x x-user=Firefox": "root=1", "GET /y x-user=Firefox": "root=1", "GET /x": "root=1",
		"GET /x x-user=aFire": "root=1", "GET /x x-user=": "root=1",
		// Of several values one is enough, as proxies' routes have it.
		"GET /x x-user=other x-user=Firefox": "s more/whole v1=1", "GET /x x-user=other x-user=another": "root=1",
		"GET / host=store:8080": "s more/host v1=1", "GET / host=STORE.": "s more/host v1=1",
		"GET / :authority=shop": "s more/host v1=1", "GET / host=stores": "root=1",
	},
}, {
	name:      "77: a group that is missing is never met",
	manifests: matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("book")) + matchesOf(splitOf("t", "root", backend("v2", 1)), groupRef("gone"), groupRef("books")),
	requests:  map[string]string{"GET /books": "t books/list v2=1", "GET /": "root=1"},
	problems: []string{`inert TrafficSplit store/s: spec.matches[0].name: HTTPRouteGroup "book" does not exist in namespace store. No request meets it until it does. Did you mean "books"?`,
		`inert TrafficSplit store/t: spec.matches[0].name: HTTPRouteGroup "gone" does not exist`},
}, {
	name: "77: what cannot match is never met",
	manifests: "\n---\nkind: HTTPRouteGroup\nmetadata: {namespace: store, name: bad}\nspec: {matches: [{name: b, pathRegex: '('}]}\n" +
		matchesOf(splitOf("s", "root", backend("v1", 1)), "{kind: HTTPRouteGrup, name: books}", "{kind: TCPRoute, name: web}", "{kind: HTTPRouteGroup, apiGroup: example.org, name: books}", groupRef("bad")) +
		matchesOf(splitOf("t", "root", backend("v2", 1)), "{kind: HTTPRouteGroup, apiGroup: specs.smi-spec.io, name: books}"),
	requests: map[string]string{"GET /books": "t books/list v2=1", "GET /": "root=1"},
	problems: []string{`broken HTTPRouteGroup store/bad: spec.matches[0].pathRegex: pattern "(" is invalid`,
		`inert TrafficSplit store/s: spec.matches[0].kind: kind "HTTPRouteGrup" cannot match requests; no request meets it. Did you mean "HTTPRouteGroup"?`,
		`inert TrafficSplit store/s: spec.matches[1].kind: kind "TCPRoute" cannot match requests; no request meets it. Use HTTPRouteGroup.`,
		`inert TrafficSplit store/s: spec.matches[2].apiGroup: group "example.org" has no HTTPRouteGroup`,
		`inert TrafficSplit store/s: spec.matches[3].name: HTTPRouteGroup "bad" has no usable match`},
}, {
	name: "72, 78: conditional ones first, all of them, the oldest first",
	manifests: more + splitOf("a", "root", backend("v1", 1), backend("root", 1)) +
		matchesOf(splitOf("b", "root", backend("v1", 1)), groupRef("books")) + matchesOf(splitOf("c", "root", backend("v2", 1)), groupRef("books"), groupRef("more")),
	requests: map[string]string{"GET /books": "b books/list v1=1", "GET / host=store": "c more/host v2=1", "GET /": "a root=1 v1=1"},
}, {
	name: "65, 78: a split without a backend on the port leaves it to the next",
	manifests: service("v3", "selector: {app: web}", "ports: [{port: 80, targetPort: 8080}]") +
		matchesOf(splitOf("a", "root", backend("v3", 1), backend("v1", 0)), groupRef("books")) + splitOf("b", "root", backend("v2", 1)),
	requests: map[string]string{"GET /books": "b v2=1"},
	problems: []string{`inert TrafficSplit store/a: spec.backends[0].service: service "v3" has no port 8080`},
}}

func TestRouteOfARequest(t *testing.T) {
	for _, c := range routedCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, shops+c.manifests), settings)
			wantProblems(t, problems, c.problems...)
			for request, want := range c.requests {
				if got := routed(t, snapshot, 8080, request); got != want {
					t.Errorf("%s: got %q, want %q", request, got, want)
				}
			}
		})
	}
}

// routed tells the route of a request to the root in words.
func routed(t *testing.T, s *mesh.Snapshot, port uint16, request string) string {
	t.Helper()
	words := strings.Fields(request)
	r := policy.Request{Method: words[0], Path: words[1]}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		r.Headers = append(r.Headers, policy.Header{Name: name, Value: value})
	}
	route, ok := s.Route(mesh.Name{Namespace: "store", Name: "root"}, port, r)
	if !ok {
		return "reject"
	}
	var out []string
	if route.Split.Name != "" {
		out = append(out, route.Split.Name)
	}
	if route.Match != "" {
		out = append(out, route.Match)
	}
	for _, b := range route.Shares {
		out = append(out, fmt.Sprintf("%s=%d", b.Service.Name, b.Weight))
	}
	return strings.Join(out, " ")
}

// A match that is named twice is one condition, and a split with conditions is
// not the one that stands for all requests.
func TestConditionsAreDistinct(t *testing.T) {
	snapshot, _ := smi.Snapshot(objects(t, shops+more+matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("more"), groupRef("more"))), settings)
	if len(snapshot.Splits) != 1 || len(snapshot.Splits[0].Conditions) != 3 {
		t.Errorf("got %+v", snapshot.Splits)
	}
	if split, ok := snapshot.SplitOf(mesh.Name{Namespace: "store", Name: "root"}); ok {
		t.Errorf("got %s for all requests", split.Name)
	}
}

// Opaque ports have nothing to match; smi-rules 79.
func TestConditionsOnAnOpaquePort(t *testing.T) {
	manifests := shops + service("mixed", "selector: {app: web}", "ports: [{name: web, port: 8080}, {name: tcp-db, port: 9000, targetPort: 8080}]") +
		matchesOf(splitOf("s", "mixed", backend("v1", 1)), groupRef("books"))
	_, problems := smi.Snapshot(objects(t, manifests), settings)
	var found bool
	for _, p := range problems {
		found = found || p.Field == "spec.matches" && strings.Contains(p.Cause, `port 9000 of service "mixed" is opaque TCP`)
	}
	if !found {
		t.Errorf("got %s", lines(problems))
	}
	at := func(protocol mesh.Protocol) mesh.Service {
		return mesh.Service{Name: mesh.Name{Namespace: "store", Name: "root"}, Ports: []mesh.ServicePort{{Port: 8080, Protocol: mesh.HTTP1}, {Port: 9000, Protocol: protocol}}}
	}
	v1 := at(mesh.TCP)
	v1.Name.Name = "v1"
	both := []mesh.Backend{{Service: at("").Name, Weight: 1}, {Service: v1.Name, Weight: 1}}
	s := &mesh.Snapshot{Splits: []mesh.Split{
		{Name: mesh.Name{Namespace: "store", Name: "a"}, Root: at("").Name, Conditional: true, Conditions: []mesh.Condition{{}}, Backends: both},
		{Name: mesh.Name{Namespace: "store", Name: "b"}, Root: at("").Name, Backends: both},
	}}
	for protocol, want := range map[mesh.Protocol]string{mesh.TCP: "b root=1 v1=1", mesh.HTTP1: "a root=1"} {
		s.Services = []mesh.Service{at(protocol), v1}
		if got := routed(t, s, 9000, "GET /"); got != want {
			t.Errorf("%s: got %q, want %q", protocol, got, want)
		}
	}
}

// The setting that makes patterns whole holds for splits too (smi-rules 36).
func TestConditionsWithPathFull(t *testing.T) {
	manifests := shops + more + matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("more"))
	for full, want := range map[bool][3]string{false: {"s more/whole v1=1", "s more/whole v1=1", "(?:/x)(?s:.*)"}, true: {"s more/whole v1=1", "root=1", "(?:/x)"}} {
		snapshot, _ := smi.Snapshot(objects(t, manifests), smi.Settings{TrustDomain: "cluster.local", PathFull: full})
		if got := routed(t, snapshot, 8080, "GET /x x-user=Fire"); got != want[0] {
			t.Errorf("full %v: /x: %s", full, got)
		}
		if got := routed(t, snapshot, 8080, "GET /x/y x-user=Fire"); got != want[1] {
			t.Errorf("full %v: /x/y: %s", full, got)
		}
		if got := snapshot.Splits[0].Conditions[0].Path; got != want[2] {
			t.Errorf("full %v: proxies are given %s", full, got)
		}
	}
}

// A pattern that a proxy would refuse, and with it the whole route, never gets
// there.
func TestConditionsThatAreTooLarge(t *testing.T) {
	huge := strings.Replace(more, "pathRegex: /x", `pathRegex: '(?:[\pL\pN]?){80}'`, 1)
	snapshot, problems := smi.Snapshot(objects(t, shops+huge+matchesOf(splitOf("s", "root", backend("v1", 1)), groupRef("more"))), settings)
	for _, p := range problems {
		t.Log(p)
	}
	if len(problems) == 0 || len(snapshot.Splits) != 1 || len(snapshot.Splits[0].Conditions) != 2 {
		t.Errorf("got %d problems and %+v", len(problems), snapshot.Splits)
	}
	if got := routed(t, snapshot, 8080, "GET /x x-user=Fire"); got != "root=1" {
		t.Errorf("got %s", got)
	}
}
