// Package scenarios holds the behaviours of the mesh's policies, each a page in
// testdata, before four judges that must agree: the policy package, the compiled
// module offline, real sidecars, and the explain command.
//
// It never judges with fewer than all four, never skips, and knows no rule of
// its own: what a page says is what is wanted. README.md tells how to add one.
package scenarios

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/rig"
)

func TestScenarios(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	judges, sidecars := seat(t)
	scenarios, requests := 0, 0
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			scenarios++
			requests += len(s.requests)
			play(t, s, judges)
		})
	}
	if err := sidecars.late(); err != nil {
		t.Error(err)
	}
	report(os.Stdout, judges)
	if one := flag.Lookup("test.run").Value.String(); scenarios == 0 || scenarios != len(all) && !strings.Contains(one, "/") {
		t.Errorf("%d of %d scenarios were played", scenarios, len(all))
	}
	for _, b := range judges {
		if b.scenarios != scenarios || b.requests != requests {
			t.Errorf("%s judged %d scenarios with %d requests of %d with %d", b.name, b.scenarios, b.requests, scenarios, requests)
		}
	}
}

// play has all judges hear a scenario, at the same time, and fails with every
// verdict that is not the wanted one.
func play(t *testing.T, s scenario, judges []*bench) {
	st, err := setStage(t.TempDir(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.surprises(); err != nil {
		t.Error(err)
	}
	calls := callsOf(t, st)
	wrong := make([][]error, len(judges))
	var hearings sync.WaitGroup
	for i, b := range judges {
		hearings.Go(func() { wrong[i] = b.hear(t.Context(), st, calls) })
	}
	hearings.Wait()
	for _, errs := range wrong {
		for _, err := range errs {
			t.Error(err)
		}
	}
}

// seat builds what is judged and brings the four judges together.
func seat(t *testing.T) ([]*bench, *envoy) {
	t.Helper()
	ctx := t.Context()
	programs, err := rig.Build(ctx, t.TempDir(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := newWazero(ctx, programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := offline.module.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	sidecars := startEnvoy(t, programs)
	return []*bench{
		{name: "native", judge: &native{}},
		{name: "wazero", judge: offline},
		{name: "envoy", judge: sidecars},
		{name: "explain", judge: &explainer{program: programs.Wasmesh}},
	}, sidecars
}

// startEnvoy starts the mesh of the cast, once for all scenarios.
func startEnvoy(t *testing.T, programs rig.Programs) *envoy {
	t.Helper()
	alone(t)
	st, err := setStage(t.TempDir(), scenario{file: castFile})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.surprises(); err != nil {
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
	e := &envoy{mesh: running, watched: st.folder, empty: st.snapshot, applications: apps}
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// shownByRequests are the rows of the rules that speak of access and routes,
// without those that need more than one policy or something else than HTTP/1.
var shownByRequests = []int{
	1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 29, 30, 31,
	36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
}

// TestRowsAreCovered wants a scenario for every rule that a request can show.
func TestRowsAreCovered(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	var covered []int
	for _, s := range all {
		covered = append(covered, s.rows...)
	}
	slices.Sort(covered)
	t.Log("rows covered:", slices.Compact(slices.Clone(covered)))
	for _, row := range shownByRequests {
		if !slices.Contains(covered, row) {
			t.Errorf("no scenario covers smi-rules %d", row)
		}
	}
}
