package badinput

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// mistake is an edit that breaks something of the mesh that runs.
type mistake struct {
	name      string
	file      string
	old, text string
	// problem is what the status must say.
	problem []string
}

func mistakes() []mistake {
	return []mistake{
		{"broken YAML", "access.yaml", "spec:\n  matches:", "spec: [\n  matches:", []string{"access.yaml:", "cannot be read"}},
		{"the same, in the second document", "access.yaml", "kind: TrafficTarget", "kind: [TrafficTarget", []string{"access.yaml:", "cannot be read"}},
		{"an unknown kind", "access.yaml", "kind: TrafficTarget", "kind: TrafficTargt", []string{"access.yaml:9", "TrafficTargt shop/buyers"}},
		{"an unknown field", "access.yaml", "  sources:", "  source:", []string{"access.yaml:", "TrafficTarget shop/buyers", "source"}},
		{"an invalid expression", "access.yaml", "/books$", "/books($", []string{"access.yaml:6", "HTTPRouteGroup shop/books", "missing closing )"}},
		{"a large expression", "access.yaml", "/books$", `"/(a|b)*a(a|b){30}"`, []string{"access.yaml:6", "HTTPRouteGroup shop/books", "too large"}},
		{"a workload's missing account", "people.yaml", "serviceAccount: store", "serviceAccount: stoer", []string{"people.yaml:", "Workload shop/store", `"stoer" does not exist`}},
		{"a workload's broken address", "people.yaml", "address: 127.62.0.2", "address: 127.62.0.2000", []string{"people.yaml:", "Workload shop/store", "not an IP address"}},
		{"a service on another's address", "people.yaml", "clusterIP: 127.127.7.2", "clusterIP: 127.127.7.1", []string{"people.yaml:", "Service shop/", "end in 7.1"}},
	}
}

// extra grants what an edit beside the mistake is about.
const extra = `apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: extra, namespace: shop}
spec:
  matches:
    - {name: extra, pathRegex: /extra%d$, methods: [GET]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: extra, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store}
  sources:
    - {kind: ServiceAccount, name: buyer, namespace: shop}
  rules:
    - {kind: HTTPRouteGroup, name: extra}
`

// What is broken keeps its last good form, what is edited beside it applies, and
// nobody who was allowed notices anything.
func TestBrokenManifestsKeepTheirLastGoodForm(t *testing.T) {
	s := openShop(t, func(_ *shop, o *rig.Options) { o.Workloads = []mesh.Name{buyer, store, printer} })
	l := s.startLoad()
	for i, m := range mistakes() {
		good := s.read(m.file)
		s.exchange(m.file, m.old, m.text)
		s.edit("extra.yaml", fmt.Sprintf(extra, i))
		s.problem(applyTimeout, m.problem...)
		s.must(applyTimeout, m.name+": the edit beside it", s.answers(buyer, store, fmt.Sprintf("/extra%d", i), http.StatusOK))
		if i > 0 {
			s.must(applyTimeout, m.name+": the revocation beside it", s.answers(buyer, store, fmt.Sprintf("/extra%d", i-1), http.StatusForbidden))
		}
		if err := s.answers(buyer, printer, "/print", http.StatusOK)(t.Context()); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		s.edit(m.file, good)
		s.noProblems(applyTimeout)
	}
	// A control plane that is told something new about a file that was broken and
	// is mended takes all of it.
	s.exchange("access.yaml", "/books$", "/books(")
	s.problem(applyTimeout, "access.yaml:6")
	s.exchange("access.yaml", "/books(", "/(books|novels)$")
	s.must(applyTimeout, "what was mended", s.answers(buyer, store, "/novels", http.StatusOK))
	s.noProblems(applyTimeout)
	l.stop(t)
}

// A reference to nothing is no mistake of form: it grants nothing until what it
// names is there. The rest of the same target goes on granting.
func TestDanglingReferenceGrantsNothingAndHeals(t *testing.T) {
	s := openShop(t, nil)
	s.must(applyTimeout, "a request to pass", s.answers(buyer, store, "/books", http.StatusOK))
	s.exchange("access.yaml", "{kind: HTTPRouteGroup, name: books}", "{kind: HTTPRouteGroup, name: boks}")
	s.problem(applyTimeout, "access.yaml:", "TrafficTarget shop/buyers", `"boks" does not exist`, `"books"`)
	s.must(applyTimeout, "the rule to grant nothing", s.answers(buyer, store, "/books", http.StatusForbidden))
	s.exchange("access.yaml", "name: boks}", "name: books}")
	s.must(applyTimeout, "a request to pass", s.answers(buyer, store, "/books", http.StatusOK))
	s.noProblems(applyTimeout)
}

// A folder that cannot be read is not an empty one.
func TestFolderThatIsGoneChangesNothing(t *testing.T) {
	s := openShop(t, nil)
	l := s.startLoad()
	away := s.folder + ".away"
	s.move(s.folder, away)
	s.problem(applyTimeout, s.folder, "no such file or directory", "what was read before stays in force")
	s.move(away, s.folder)
	s.noProblems(applyTimeout)
	s.exchange("access.yaml", "/books$", "/(books|novels)$")
	s.must(applyTimeout, "an edit afterwards", s.answers(buyer, store, "/novels", http.StatusOK))
	l.stop(t)
}
