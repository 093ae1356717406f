package smi_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/pattern"
)

// group writes the HTTPRouteGroup that open grants to the reader.
func group(matches ...string) string {
	return target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: g}]") +
		"\n---\nkind: HTTPRouteGroup\nmetadata: {namespace: store, name: g}\nspec:\n  matches:\n  - " + strings.Join(matches, "\n  - ") + "\n"
}

// Each case is named by the smi-rules it tests.
var routeCases = []struct {
	name     string
	matches  []string
	requests map[string]string
	problems []string
}{{
	name:     "39: an invalid pattern grants nothing, the other matches stay",
	matches:  []string{"{name: bad, pathRegex: '/(x'}", "{name: good, pathRegex: /y}"},
	requests: map[string]string{"people/reader 1 GET /(x": "path", "people/reader 1 GET /x": "path", "people/reader 1 GET /y": "store/t"},
	problems: []string{`broken HTTPRouteGroup store/g: spec.matches[0].pathRegex: pattern "/(x" is invalid: missing closing ) at "/(x"; `},
}, {
	name:     "39: so does one that is too large",
	matches:  []string{"{name: big, pathRegex: '" + strings.Repeat("x", pattern.MaxBytes+1) + "'}", "{name: deep, pathRegex: '(a{1,100}){1,100}(b{1,100}){1,100}'}"},
	requests: map[string]string{"people/reader 1 GET /": "policy"},
	problems: []string{`broken HTTPRouteGroup store/g: spec.matches[0].pathRegex: pattern "xxx`, `broken HTTPRouteGroup store/g: spec.matches[1].pathRegex: pattern `},
}, {
	name:     "39, 46: a header's pattern",
	matches:  []string{"{name: bad, headers: [{x-a: '('}]}", "{name: odd, headers: [{'x a': '.*'}]}"},
	requests: map[string]string{"people/reader 1 GET / x-a=(": "policy"},
	problems: []string{"broken HTTPRouteGroup store/g: spec.matches[0].headers[x-a]: pattern ", `broken HTTPRouteGroup store/g: spec.matches[1].headers[x a]: "x a" is not a header name`},
}, {
	name:     "40, 48: a match with only a name grants everything",
	matches:  []string{"{name: all}"},
	requests: map[string]string{"people/reader 1 BREW /x": "store/t"},
}, {
	name:     "42: methods are upper case",
	matches:  []string{"{name: a, methods: [get]}", "{name: b, methods: ['G T']}", "{name: c, methods: [GET, HEAD]}"},
	requests: map[string]string{"people/reader 1 get /": "method", "people/reader 1 HEAD /": "store/t", "people/reader 1 POST /": "method"},
	problems: []string{`broken HTTPRouteGroup store/g: spec.matches[0].methods[0]: method "get" is not in upper case, as methods are; the match grants nothing until then. Write GET.`,
		`broken HTTPRouteGroup store/g: spec.matches[1].methods[0]: "G T" is not a method`},
}, {
	name:     "51: of two matches with one name the last counts",
	matches:  []string{"{name: a, pathRegex: /x}", "{name: a, pathRegex: /y}"},
	requests: map[string]string{"people/reader 1 GET /x": "path", "people/reader 1 GET /y": "store/t"},
	problems: []string{`inert HTTPRouteGroup store/g: spec.matches[0].name: a later match is also named "a"`},
}, {
	name:     "51: even if the last is broken",
	matches:  []string{"{name: a, pathRegex: /x}", "{name: a, pathRegex: '/('}"},
	requests: map[string]string{"people/reader 1 GET /x": "policy"},
	problems: []string{`inert HTTPRouteGroup store/g: spec.matches[0].name: `, `broken HTTPRouteGroup store/g: spec.matches[1].pathRegex: `},
}, {
	name:     "19: matches without a name count where a rule names none",
	matches:  []string{"{pathRegex: /x}", "{pathRegex: /y}"},
	requests: map[string]string{"people/reader 1 GET /x": "store/t", "people/reader 1 GET /y": "store/t", "people/reader 1 GET /z": "path"},
}}

func TestRoutes(t *testing.T) {
	for _, c := range routeCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, shop+group(c.matches...)), settings)
			wantProblems(t, problems, c.problems...)
			decide(t, snapshot, c.requests)
		})
	}
}

// smi-rules 36: the prefix reading by default, the whole path by setting.
func TestPathReading(t *testing.T) {
	o := objects(t, shop+group("{name: a, pathRegex: /metrics}"))
	snapshot, _ := smi.Snapshot(o, settings)
	decide(t, snapshot, map[string]string{"people/reader 1 GET /metrics/x": "store/t", "people/reader 1 GET /x/metrics": "path"})
	full := settings
	full.PathFull = true
	snapshot, _ = smi.Snapshot(o, full)
	decide(t, snapshot, map[string]string{"people/reader 1 GET /metrics/x": "path", "people/reader 1 GET /metrics?a": "store/t"})
	wantProblems(t, advice(o, full))
	wantProblems(t, advice(o, settings), `warning HTTPRouteGroup store/g: spec.matches[0].pathRegex: "/metrics" is anchored at the start only`)
	all := objects(t, shop+group("{name: all}", "{name: open, pathRegex: .*}", "{name: closed, pathRegex: /a$}", "{name: bad, pathRegex: '('}", "{name: big, pathRegex: '/.*a.{20}$'}"))
	wantProblems(t, advice(all, settings), `warning HTTPRouteGroup store/g: spec.matches[0]: match "all" has no condition`)
}

func TestNames(t *testing.T) {
	snapshot, _ := smi.Snapshot(objects(t, shop+group("{name: a, pathRegex: /a}", "{pathRegex: /b}")), settings)
	grants := snapshot.Grants(mesh.Name{Namespace: "store", Name: "store"})
	if len(grants) != 1 || grants[0].Name != "store/t" || grants[0].Matches[0].Name != "g/a" || grants[0].Matches[1].Name != "g/matches[1]" {
		t.Errorf("got %+v", grants)
	}
	if want := "spiffe://cluster.local/ns/people/sa/reader"; grants[0].Sources[0] != want {
		t.Errorf("source %s, want %s", grants[0].Sources[0], want)
	}
}
