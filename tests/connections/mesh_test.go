package connections

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "connections.test"
	// applyTimeout is how late an edit may be in force and revocation may take:
	// smi-rules 32.
	applyTimeout  = 5 * time.Second
	answerTimeout = 5 * time.Second
	policyFile    = "policy.yaml"
)

var (
	caller = mesh.Name{Namespace: "calls", Name: "caller"}
	other  = mesh.Name{Namespace: "calls", Name: "other"}
	store  = mesh.Name{Namespace: "store", Name: "store"}
	six    = mesh.Name{Namespace: "side", Name: "six"}
	inner  = mesh.Name{Namespace: "side", Name: "inner"}
)

// network is a running mesh with its folder of manifests and its applications.
type network struct {
	*rig.Mesh
	folder   string
	snapshot *mesh.Snapshot
	apps     *applications
}

// start brings up the mesh of testdata. change may alter what it is started with.
func start(t *testing.T, change func(*rig.Options), workloads ...mesh.Name) *network {
	t.Helper()
	n := &network{folder: t.TempDir(), apps: startApplications(t)}
	if err := os.CopyFS(n.folder, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	n.write(t, "")
	o := rig.Options{Manifests: n.folder, Settings: settings(), Workloads: workloads, Programs: programs}
	if change != nil {
		change(&o)
	}
	var err error
	if n.Mesh, err = rig.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := n.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// write replaces the policy, and with it the snapshot it means.
func (n *network) write(t *testing.T, policy string) {
	t.Helper()
	part := filepath.Join(n.folder, ".part")
	if err := os.WriteFile(part, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, filepath.Join(n.folder, policyFile)); err != nil {
		t.Fatal(err)
	}
	loaded, err := files.Load(n.folder)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	for _, p := range append(loaded.Problems, problems...) {
		t.Fatalf("the test's own manifests have a problem: %s", p)
	}
	n.snapshot = snapshot
}

// edit replaces the policy and returns when it runs.
func (n *network) edit(t *testing.T, policy string) {
	t.Helper()
	n.write(t, policy)
	if err := n.Await(applyTimeout, "the policy to run", func(ctx context.Context) error { return n.Applied(ctx, n.snapshot) }); err != nil {
		t.Fatal(err)
	}
}

// grant is edit with nothing but grants.
func (n *network) grant(t *testing.T, grants ...grant) {
	t.Helper()
	n.edit(t, manifests(grants...))
}

// until fails the test unless probe returns nil in time.
func (n *network) until(t *testing.T, what string, probe func(context.Context) error) {
	t.Helper()
	if err := n.Await(applyTimeout, what, probe); err != nil {
		t.Fatal(err)
	}
}

// outlet is where a workload's application dials a port of a service.
func (n *network) outlet(from, service mesh.Name, port uint16) string {
	w, _ := n.snapshot.Workload(from)
	s, _ := n.snapshot.Service(service)
	return netip.AddrPortFrom(w.AddressOf(s), port).String()
}

// inlet is where the sidecar of a workload accepts.
func (n *network) inlet(w mesh.Name, port uint16) string {
	found, _ := n.snapshot.Workload(w)
	return netip.AddrPortFrom(found.Address, port).String()
}

// counted returns what a workload's filters have counted under a series.
func (n *network) counted(t *testing.T, w mesh.Name, series string) uint64 {
	t.Helper()
	stats, err := n.Stats(t.Context(), w, `^wasm(custom\.(wasmesh|osm)_|esh\.)`)
	if err != nil {
		t.Fatal(err)
	}
	return stats["wasmcustom."+series] + stats[series]
}

// unsent is the series under which a caller's own sidecar counts what it does
// not even try, at a port as it is dialled.
func unsent(service mesh.Name, port uint16, r policy.Reason) string {
	return fmt.Sprintf("%s.%s.destination.%s:%d.reason.%s", traffic.OwnScope, traffic.Forbidden, service, port, r)
}

// metered is what metrics call a workload.
func metered(w mesh.Name) identity.Workload { return mesh.Workload{Name: w}.Metered() }

// counts runs do and wants each series of w to have risen by so much.
func (n *network) counts(t *testing.T, w mesh.Name, rises map[string]uint64, do func()) {
	t.Helper()
	before := map[string]uint64{}
	for series := range rises {
		before[series] = n.counted(t, w, series)
	}
	do()
	n.until(t, "the counters of "+w.String(), func(context.Context) error {
		for series, rise := range rises {
			if got := n.counted(t, w, series) - before[series]; got != rise {
				return fmt.Errorf("%s rose by %d, want %d", series, got, rise)
			}
		}
		return nil
	})
}
