package connections

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// answers is a probe for the status of a request.
func (n *network) answers(from, service mesh.Name, port uint16, path string, wanted int) error {
	status, _, err := get(context.Background(), n.outlet(from, service, port), path)
	if err == nil && status != wanted {
		err = fmt.Errorf("%s from %s to %s is answered %d, want %d", path, from.Name, service, status, wanted)
	}
	return err
}

// testModes lets a namespace pass what its policy does not allow, and takes that
// back.
func testModes(t *testing.T, n *network) {
	rules := manifests(grant{name: "some", to: "store", sources: []string{"caller"}, ports: []int{7001, 8001}, paths: []string{"/hello$"}})
	from, to := metered(other), metered(store)
	audited := func(source identity.Workload, r policy.Reason) string {
		return traffic.ReasonSeries(traffic.Audited, source, to, string(r))
	}
	denied := func(source identity.Workload, r policy.Reason) string {
		return traffic.DenialSeries(source, to, string(r))
	}
	echoes, greets, elsewhere := opaque()[0], opaque()[1], opaque()[4]
	play := func(outcome int, pass bool) {
		connection := n.denied
		if pass {
			connection = n.allowed
		}
		want(t, "another source", n.answers(other, store, 8001, "/hello", outcome))
		want(t, "another path", n.answers(caller, store, 8001, "/stream/none", map[bool]int{true: http.StatusNotFound, false: http.StatusForbidden}[pass]))
		want(t, "two readings", n.answers(caller, store, 8001, "/a%2fb", http.StatusBadRequest))
		want(t, "another source", connection(t.Context(), other, echoes))
		want(t, "another port", connection(t.Context(), caller, greets))
		// The policy allows this, and another namespace is none of its business.
		want(t, "granted", n.answers(caller, store, 8001, "/hello", http.StatusOK))
		want(t, "granted", n.allowed(t.Context(), caller, echoes))
		want(t, "another namespace", n.denied(t.Context(), other, elsewhere))
	}
	steps := []struct {
		label            string
		outcome          int
		audited, refused uint64
	}{
		{"audit", http.StatusOK, 1, 0}, {"permissive", http.StatusOK, 0, 0}, {"enforce", http.StatusForbidden, 0, 1},
	}
	for _, s := range steps {
		n.edit(t, rules+labelled("store", "mode: "+s.label))
		n.counts(t, store, map[string]uint64{
			audited(from, policy.ReasonSource): 2 * s.audited, audited(metered(caller), policy.ReasonPort): s.audited,
			audited(metered(caller), policy.ReasonPath): s.audited, denied(metered(caller), policy.ReasonPath): s.refused,
			// These are refused before they are sent.
			denied(from, policy.ReasonSource): 0, denied(metered(caller), policy.ReasonPort): 0,
		}, func() {
			n.counts(t, other, map[string]uint64{
				unsent(store, 8001, policy.ReasonSource): s.refused, unsent(store, echoes.dialled, policy.ReasonSource): s.refused,
				unsent(inner, elsewhere.dialled, policy.ReasonSource): 1,
			}, func() {
				n.counts(t, caller, map[string]uint64{unsent(store, greets.dialled, policy.ReasonPort): s.refused}, func() {
					play(s.outcome, s.outcome == http.StatusOK)
				})
			})
		})
	}
	n.modesEnd(t, rules)
}

// modesEnd opens flows that only a mode allows, and enforces.
func (n *network) modesEnd(t *testing.T, rules string) {
	for _, mode := range []string{"audit", "permissive"} {
		n.edit(t, rules+labelled("store", "mode: "+mode))
		flows := n.openAll(t, other)
		began := time.Now()
		n.write(t, rules+labelled("store", "mode: enforce"))
		cut(t, flows, began)
	}
}
