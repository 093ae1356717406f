// Package differential compares everything that says what a policy means: the
// policy in native Go, its explanation, a naive reading of the specification,
// the compiled module in wazero, and Envoy's own RBAC where it can say a rule.
// Worlds and requests are made up from a seed. No judge may be spared a case in
// silence: the tests print who saw how many.
package differential

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/tests/differential/judge"
)

const (
	// budget is how long a plain run makes up cases.
	budget = 30 * time.Second
	// everyCase: wazero sees every world of a plain run.
	everyCase = 1
	// tell is after how many cases a long run says how far it is.
	tell = 500_000
)

var (
	seed   = flag.Uint64("seed", 0, "of all worlds; 0 draws one")
	cases  = flag.Int("cases", 0, "how many cases TestLong makes up; 0 leaves it out")
	worlds = flag.Int("worlds", 40, "how many worlds TestNative puts to Envoy's RBAC")
	every  = flag.Uint64("wazero", everyCase, "TestLong shows wazero every nth world")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64() >> 32
	}
	fmt.Printf("seed %d (repeat with -args -seed %d)\n", *seed, *seed)
	os.Exit(m.Run())
}

// TestDifferential is the plain run.
func TestDifferential(t *testing.T) {
	h := &hunt{every: everyCase, goOn: before(time.Now().Add(budget))}
	h.run(t)
	if h.filtered != h.tally.Cases {
		t.Errorf("wazero saw %d of %d cases", h.filtered, h.tally.Cases)
	}
	const enough = 10_000 // even on a slow machine
	if h.tally.Cases < enough {
		t.Errorf("%d cases in %v, want %d", h.tally.Cases, budget, enough)
	}
}

// TestLong makes up as many cases as -cases says.
func TestLong(t *testing.T) {
	if *cases == 0 {
		return // make fuzz-long asks for it
	}
	h := &hunt{every: *every}
	var asked atomic.Int64
	start := time.Now()
	h.goOn = func(done int) bool {
		now := asked.Add(int64(done))
		if now/tell > (now-int64(done))/tell {
			fmt.Printf("%d cases after %.0f s\n", now, time.Since(start).Seconds())
		}
		return now < int64(*cases)
	}
	h.run(t)
}

// before goes on until a moment.
func before(end time.Time) func(int) bool {
	return func(int) bool { return time.Now().Before(end) }
}

// hunt is a run on all cores.
type hunt struct {
	every uint64 // wazero sees every nth world
	// goOn is told how many cases one more world had.
	goOn     func(done int) bool
	next     atomic.Uint64 // world
	tally    *judge.Tally
	filtered int // cases that wazero has seen
}

func (h *hunt) run(t *testing.T) {
	module := buildModule(t)
	start, workers := time.Now(), runtime.GOMAXPROCS(0)
	tallies, filters := make([]*judge.Tally, workers), make([]*filter, workers)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done sync.WaitGroup
	for i := range workers {
		tallies[i], filters[i] = judge.NewTally(), &filter{module: module}
		done.Go(func() {
			if err := h.work(ctx, tallies[i], filters[i]); err != nil && ctx.Err() == nil {
				t.Error(err)
				cancel() // and what that breaks elsewhere is no news
			}
		})
	}
	done.Wait()
	h.tally = judge.NewTally()
	for i := range workers {
		h.tally.Add(tallies[i])
		h.filtered += filters[i].cases
	}
	h.report(t, time.Since(start))
}

// work takes world after world. One that fails ends it all.
func (h *hunt) work(ctx context.Context, tally *judge.Tally, f *filter) error {
	for done := 0; h.goOn(done) && ctx.Err() == nil; {
		index, before := h.next.Add(1)-1, tally.Cases
		answered, err := judge.World(*seed, index, xds.Table, tally)
		if err != nil {
			return err
		}
		if done = tally.Cases - before; index%h.every == 0 {
			if err := f.judge(ctx, answered); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *hunt) report(t *testing.T, took time.Duration) {
	var text strings.Builder
	rate := float64(h.tally.Cases) / took.Seconds()
	fmt.Fprintf(&text, "seed %d: %d cases in %d worlds, %.0f s, %.0f cases/s on %d cores\n",
		*seed, h.tally.Cases, h.tally.Worlds, took.Seconds(), rate, runtime.GOMAXPROCS(0))
	for _, oracle := range []struct {
		name string
		saw  int
	}{
		{"policy, encoded and decoded", h.tally.Cases}, {"explanation", h.tally.Cases}, {"reference", h.tally.Cases},
		{"module in wazero", h.filtered},
	} {
		fmt.Fprintf(&text, "%-36s %9d  %5.1f %%  %.0f/s\n", "seen by "+oracle.name, oracle.saw,
			100*float64(oracle.saw)/float64(max(1, h.tally.Cases)), float64(oracle.saw)/took.Seconds())
	}
	h.tally.Print(&text)
	t.Log("\n" + text.String())
	if t.Failed() {
		return // cut short, so that it has not exercised everything
	}
	for _, s := range h.tally.Shortcomings() {
		t.Error(s)
	}
}
