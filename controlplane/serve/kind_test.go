package serve

import (
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// TestKindsAreApart: who proved to be a Workload gets nothing of the Pod that has
// its name, nor the other way round, also after the next publication.
func TestKindsAreApart(t *testing.T) {
	for _, is := range []string{mesh.KindPod, mesh.KindWorkload} {
		for _, proved := range []string{mesh.KindPod, mesh.KindWorkload} {
			s := meshOf("a")
			s.Workloads[0].Kind = is
			d := newDesk(t)
			d.do(published{s, xds.Settings{Module: "00"}})
			d.do(opened{"p#1", caller, proved, time.Unix(0, 0)})
			d.do(published{s, xds.Settings{Module: "01"}})
			if got := len(d.last()); (got > 0) != (is == proved) {
				t.Errorf("a %s got %d types of resources of a %s", proved, got, is)
			}
		}
	}
}
