package splits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// applyTimeout is how late an edit may be in force.
const applyTimeout = 5 * time.Second

// sidecars are the mesh of the cast, running, and its applications.
type sidecars struct {
	mesh *rig.Mesh
	// watched is the folder that the control plane watches, caller whose routes
	// are awaited, empty what the cast alone amounts to.
	watched      string
	caller       mesh.Name
	empty        *mesh.Snapshot
	applications *applications
	runs         int
}

// startSidecars starts the mesh, once for everything.
func startSidecars(t *testing.T, programs rig.Programs) *sidecars {
	t.Helper()
	alone(t)
	st, err := setStage(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.surprises(nil); err != nil {
		t.Fatal(err)
	}
	var members []mesh.Name
	for _, w := range st.snapshot.Workloads {
		members = append(members, w.Name)
	}
	apps, err := startApplications(t.Context(), st.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	running, err := rig.Start(context.Background(), rig.Options{
		Manifests: st.folder, Settings: settings(), Workloads: members, Programs: programs,
	})
	if err != nil {
		t.Fatal(errors.Join(err, apps.stop()))
	}
	t.Cleanup(func() {
		if err := errors.Join(running.Stop(), apps.stop()); err != nil {
			t.Error(err)
		}
	})
	return &sidecars{
		mesh: running, watched: st.folder, caller: mesh.Name{Namespace: "bookbuyer", Name: "bookbuyer"},
		empty: st.snapshot, applications: apps,
	}
}

// clear takes all splits away: an object that stays has an age, and what is
// broken keeps its last good form.
func (e *sidecars) clear() error { return e.apply(nil, e.empty) }

// apply edits the policy and waits until it runs as the snapshot says.
func (e *sidecars) apply(policy []byte, s *mesh.Snapshot) error {
	if err := e.edit(policy); err != nil {
		return err
	}
	return e.mesh.Await(applyTimeout, "the policy to run", func(ctx context.Context) error {
		if err := e.routesAre(ctx, s); err != nil {
			return errors.Join(err, e.refusals(ctx))
		}
		return e.mesh.Applied(ctx, s)
	})
}

// refusals are what the caller's Envoy did not take.
func (e *sidecars) refusals(ctx context.Context) error {
	status, err := e.mesh.Status(ctx)
	for _, p := range status.Proxies {
		for _, r := range p.Refusals {
			err = errors.Join(err, fmt.Errorf("%s refused %v: %s", p.Name, r.Resources, r.Cause))
		}
	}
	return err
}

// edit replaces the policy as an editor that writes safely does.
func (e *sidecars) edit(policy []byte) error {
	part := filepath.Join(e.watched, ".part")
	if err := os.WriteFile(part, policy, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(e.watched, policyFile))
}

// routesAre returns nil once the caller's Envoy has the routes that the snapshot
// amounts to. It may have others: a listener that is gone keeps its own while
// its connections drain.
func (e *sidecars) routesAre(ctx context.Context, s *mesh.Snapshot) error {
	text, err := e.mesh.Admin(e.caller).Get(ctx, "/config_dump?resource=dynamic_route_configs")
	if err != nil {
		return err
	}
	var dump struct {
		Configs []struct {
			Route json.RawMessage `json:"route_config"`
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return err
	}
	wanted := xds.Build(s, e.caller, xds.Settings{})[xds.RouteType]
	for _, c := range dump.Configs {
		var packed anypb.Any
		var running routev3.RouteConfiguration
		if err := protojson.Unmarshal(c.Route, &packed); err != nil {
			return err
		}
		if err := packed.UnmarshalTo(&running); err != nil {
			return err
		}
		meant, ok := wanted[running.GetName()]
		if ok && !proto.Equal(&running, meant) {
			return fmt.Errorf("the caller does not route %s as wanted", running.GetName())
		}
		delete(wanted, running.GetName())
	}
	if len(wanted) > 0 {
		return fmt.Errorf("the caller has no route table for %d names", len(wanted))
	}
	return nil
}

// ask sends a request n times and counts what became of it: by the workload whose
// application saw it, or by the status of the answer where none did.
func (e *sidecars) ask(ctx context.Context, c call, n int) (map[string]int, error) {
	e.runs++
	run := strconv.Itoa(e.runs)
	statuses, err := send(ctx, c, run, n)
	if err != nil {
		return nil, err
	}
	counts, arrived := map[string]int{}, 0
	for workload, seen := range e.applications.seen(run) {
		counts[workload] = seen
		arrived += seen
	}
	if arrived != statuses[200] {
		return nil, fmt.Errorf("applications saw %d requests, and %d answers were 200", arrived, statuses[200])
	}
	for status, count := range statuses {
		if status != 200 {
			counts[strconv.Itoa(status)] = count
		}
	}
	return counts, nil
}
