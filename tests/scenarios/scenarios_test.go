// Package scenarios holds the behaviours of the mesh's policies, each a page in
// testdata, before four judges that must agree: the policy package, the compiled
// module offline, real sidecars by two roads, and the explain command.
//
// It never judges with fewer than all four, never skips, and knows no rule of
// its own: what a page says is what is wanted. README.md tells how to add one.
package scenarios

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

func TestScenarios(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	// Those with settings of their own come last: each needs a mesh of its own.
	slices.SortStableFunc(all, func(a, b scenario) int {
		return strings.Compare(fmt.Sprint(a.settings), fmt.Sprint(b.settings))
	})
	c := seat(t)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) { c.play(t, s) })
		t.Run(s.name+"/permissive", func(t *testing.T) { c.play(t, permissively(s)) })
	}
	c.adjourn(t, 2*len(all))
}

// court is the judges, with what all of them should have judged.
type court struct {
	// judges are asked at the same time, those of one turn after each other.
	turns     [][]*bench
	house     *house
	scenarios int
	steps     int
	requests  int
	outside   int
}

// play has all judges hear a scenario and fails with every verdict that is not
// the wanted one.
func (c *court) play(t *testing.T, s scenario) {
	c.scenarios++
	if err := c.house.open(s.settings); err != nil {
		t.Fatal(err)
	}
	var before *stage
	for _, step := range s.steps {
		st, err := setStage(t.TempDir(), s, step)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.surprises(); err != nil {
			t.Error(err)
		}
		st.before = before
		calls, err := callsOf(st)
		if err != nil {
			t.Fatal(err)
		}
		c.hear(t, st, calls)
		before = &st
	}
}

func (c *court) hear(t *testing.T, st stage, calls []call) {
	c.steps++
	for _, call := range calls {
		c.requests++
		if call.outside() {
			c.outside++
		}
	}
	wrong := make([][]error, len(c.turns))
	var hearings sync.WaitGroup
	for i, turn := range c.turns {
		hearings.Go(func() {
			for _, b := range turn {
				wrong[i] = append(wrong[i], b.hear(t.Context(), st, calls)...)
			}
		})
	}
	hearings.Wait()
	for _, err := range slices.Concat(wrong...) {
		t.Error(err)
	}
}

// adjourn reports, and fails if something was left out. scenarios is how many
// there are; a run that asks for some of them plays fewer.
func (c *court) adjourn(t *testing.T, scenarios int) {
	judges := slices.Concat(c.turns...)
	report(os.Stdout, judges)
	fmt.Printf("%d edits, the slowest in %v; %d requests while they took effect\n", c.house.edits, c.house.slowest, c.house.polls)
	if err := c.house.late(); err != nil {
		t.Error(err)
	}
	if one := flag.Lookup("test.run").Value.String(); c.scenarios == 0 || c.scenarios != scenarios && !strings.Contains(one, "/") {
		t.Errorf("%d of %d scenarios were played", c.scenarios, scenarios)
	}
	for _, b := range judges {
		want := c.requests
		if !b.hearsOutside() {
			want -= c.outside
		}
		if b.steps != c.steps || b.requests != want {
			t.Errorf("%s judged %d steps with %d requests of %d with %d", b.name, b.steps, b.requests, c.steps, want)
		}
	}
}

// seat builds what is judged and brings the judges together.
func seat(t *testing.T) *court {
	t.Helper()
	alone(t)
	programs, err := rig.Build(t.Context(), t.TempDir(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := newWazero(t.Context(), programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{programs: programs, folder: t.TempDir()}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
		if err := offline.module.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &court{house: h, turns: [][]*bench{
		{{name: "native", judge: &native{}}},
		{{name: "wazero", judge: offline}},
		{{name: "envoy", judge: &envoy{house: h, road: throughSidecar}}, {name: "envoy, around the caller's sidecar", judge: &envoy{house: h, road: straight}}},
		{{name: "explain", judge: &explainer{program: programs.Wasmesh}}},
	}}
}
