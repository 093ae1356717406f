package serve

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// A pod's stream ends when the pod is gone or its name has become that of a pod of
// another account, and nothing is sent on it any more. The twins are a pod that
// stays, one that the mesh does not know yet, and a Workload object.
func TestPodStreamsEnd(t *testing.T) {
	other := meshOf("a", "b")
	other.Workloads[0].ServiceAccount = mesh.Name{Namespace: "shop", Name: "other"}
	gone := meshOf("a", "b")
	gone.Workloads = nil
	own := mesh.SPIFFEID("test", caller)
	for name, c := range map[string]struct {
		kind, account string
		first, then   *mesh.Snapshot
		want          codes.Code
	}{
		"stays":              {pod, own, meshOf("a"), meshOf("a", "b"), codes.OK},
		"gone":               {pod, own, meshOf("a"), gone, codes.NotFound},
		"not there yet":      {pod, own, gone, meshOf("a", "b"), codes.OK},
		"becomes another's":  {pod, own, meshOf("a"), other, codes.PermissionDenied},
		"is another's":       {pod, own, other, other, codes.PermissionDenied},
		"of another domain":  {pod, "spiffe://other/ns/shop/sa/caller", meshOf("a"), meshOf("b"), codes.PermissionDenied},
		"workload is edited": {"workload", own, meshOf("a"), other, codes.OK},
		"workload is gone":   {"workload", own, meshOf("a"), gone, codes.OK},
	} {
		d := newDesk(t)
		var ended error
		by := bearer{account: c.account, kind: c.kind, end: func(err error) {
			if ended == nil {
				ended = err
			}
		}}
		d.do(published{c.first, xds.Settings{Module: "00"}})
		d.do(opened{"p#1", caller, time.Unix(0, 0), by})
		before := len(d.puts)
		d.do(published{c.then, xds.Settings{Module: "11"}})
		d.answer(xds.ClusterType, "")
		if got := status.Code(ended); got != c.want || ended != nil && c.want == codes.OK {
			t.Errorf("%s: ended with %v, want %v", name, ended, c.want)
		}
		if c.want != codes.OK && len(d.puts) != before {
			t.Errorf("%s: something was sent on a stream that ends", name)
		}
		if c.first == other && len(d.puts) != 0 {
			t.Errorf("%s: got another's resources", name)
		}
		if c.want == codes.OK && len(d.puts) == before {
			t.Errorf("%s: nothing was sent", name)
		}
	}
}
