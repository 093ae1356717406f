package serve

import (
	"strings"
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
	pods := func(s *mesh.Snapshot) *mesh.Snapshot {
		for i := range s.Workloads {
			s.Workloads[i].Kind = mesh.KindPod
		}
		return s
	}
	other := pods(meshOf("a", "b"))
	other.Workloads[0].ServiceAccount = mesh.Name{Namespace: "shop", Name: "other"}
	gone := meshOf("a", "b")
	gone.Workloads = nil
	edited := meshOf("a", "b")
	edited.Workloads[0].ServiceAccount = other.Workloads[0].ServiceAccount
	own := mesh.SPIFFEID("test", caller)
	for name, c := range map[string]struct {
		kind, account string
		first, then   *mesh.Snapshot
		want          codes.Code
	}{
		"stays":              {mesh.KindPod, own, pods(meshOf("a")), pods(meshOf("a", "b")), codes.OK},
		"gone":               {mesh.KindPod, own, pods(meshOf("a")), gone, codes.NotFound},
		"not there yet":      {mesh.KindPod, own, gone, pods(meshOf("a", "b")), codes.OK},
		"becomes another's":  {mesh.KindPod, own, pods(meshOf("a")), other, codes.PermissionDenied},
		"is another's":       {mesh.KindPod, own, other, other, codes.PermissionDenied},
		"of another domain":  {mesh.KindPod, "spiffe://other/ns/shop/sa/caller", pods(meshOf("a")), pods(meshOf("b")), codes.PermissionDenied},
		"workload is edited": {mesh.KindWorkload, own, meshOf("a"), edited, codes.OK},
		"pod for workload":   {mesh.KindPod, own, meshOf("a"), meshOf("b"), codes.PermissionDenied},
		"workload for pod":   {mesh.KindWorkload, own, pods(meshOf("a")), meshOf("b"), codes.PermissionDenied},
		"workload is gone":   {mesh.KindWorkload, own, meshOf("a"), gone, codes.OK},
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
		if refused := strings.Contains(name, "is another's") || strings.Contains(name, " for "); refused && len(d.puts) != 0 {
			t.Errorf("%s: got another's resources", name)
		}
		if c.want == codes.OK && len(d.puts) == before {
			t.Errorf("%s: nothing was sent", name)
		}
	}
}
