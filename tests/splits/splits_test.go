// Package splits holds the behaviours of TrafficSplit, each a page in testdata,
// before three judges: the pure decision, the explain command, and a real mesh
// whose applications count.
//
// It never judges with fewer than all three, never skips, and has no opinion of
// its own: what a page says is what is wanted. README.md tells how to add one.
package splits

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

func TestSplits(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	programs, err := rig.Build(t.Context(), t.TempDir(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	e := startSidecars(t, programs)
	each := risk / float64(drawsOf(all)+liveDraws)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) { play(t, s, programs.Wasmesh, e, each) })
	}
	t.Run("live", func(t *testing.T) { playLive(t, e, each) })
}

// play has all judges hear a scenario and fails with everything that is not as
// wanted.
func play(t *testing.T, s scenario, explain string, e *sidecars, risk float64) {
	st, err := setStage(t.TempDir(), s.policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.surprises(s.problems); err != nil {
		t.Error(err)
	}
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	if err := e.apply(s.policy, st.snapshot); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.requests {
		c, err := callOf(st.snapshot, r)
		if err != nil {
			t.Fatal(err)
		}
		if got := natively(st.snapshot, c); got.String() != c.want.String() {
			t.Errorf("native says %s, want %s\n\t%s", got, c.want, c.text)
		}
		if err := explained(t.Context(), explain, st, c); err != nil {
			t.Errorf("%v\n\t%s", err, c.text)
		}
		counts, err := e.ask(t.Context(), c, c.n)
		if err != nil {
			t.Errorf("%v\n\t%s", err, c.text)
			continue
		}
		measured(t, c, counts, risk)
	}
}

// measured compares counts with the shares wanted.
func measured(t *testing.T, c call, counts map[string]int, risk float64) {
	t.Helper()
	for outcome, share := range c.want {
		p, _ := share.Float64()
		fewest, most := acceptance(c.n, p, risk)
		k := counts[outcome]
		delete(counts, outcome)
		line := fmt.Sprintf("%-13s n=%d k=%d, accepted %d to %d (p=%.4g, confidence 1-%.1g)", outcome, c.n, k, fewest, most, p, risk)
		if k < fewest || k > most {
			t.Errorf("%s\n\t%s", line, c.text)
			continue
		}
		t.Log(line)
	}
	for outcome, k := range counts {
		t.Errorf("%s: %d of %d, and there should be none\n\t%s", outcome, k, c.n, c.text)
	}
}

// drawsOf counts the outcomes that chance decides.
func drawsOf(all []scenario) int {
	n := 0
	for _, s := range all {
		for _, r := range s.requests {
			for _, share := range r.want {
				if p, _ := share.Float64(); 0 < p && p < 1 {
					n++
				}
			}
		}
	}
	return n
}

// shownElsewhere are the rows that no page can show, and the test that does.
func shownElsewhere() map[int]string {
	return map[int]string{
		60: "TestSplitsAreAppliedByTheCaller in controlplane/xds",
		79: "opaque in playLive, and TestConditionsOnAnOpaquePort in controlplane/smi",
		81: "playLive",
	}
}

// TestRowsAreCovered wants a page for every rule about splits.
func TestRowsAreCovered(t *testing.T) {
	all, err := readScenarios()
	if err != nil {
		t.Fatal(err)
	}
	var covered []int
	for _, s := range all {
		covered = append(covered, s.rows...)
	}
	for row := 54; row <= 81; row++ {
		if shownElsewhere()[row] == "" && !slices.Contains(covered, row) {
			t.Errorf("no scenario covers smi-rules %d", row)
		}
	}
}
