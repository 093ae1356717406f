package failure

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

const (
	callerID = "spiffe://failure.test/ns/shop/sa/caller"
	label    = "caller.workload.shop.peer.wasmesh.internal"
	// reload is the product's; xds says why.
	reload = 100 * time.Millisecond
	// guestMemory is less than Envoy's, to run out of it sooner.
	guestMemory = 256 << 20
	// patience interrupts a loop: in wazero the clock stands still.
	patience = 500 * time.Millisecond
)

func compile(t *testing.T, file string) *wasmtest.Module {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	module, err := wasmtest.Compile(t.Context(), wasm, wasmtest.WithMemoryLimit(guestMemory))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { module.Close(context.Background()) })
	return module
}

// judging is the access form with a policy and the product's settings.
func judging(t *testing.T, module *wasmtest.Module, matches []policy.Match) *wasmtest.Plugin {
	t.Helper()
	table := policy.Compile([]policy.Grant{{
		Name: "shop/callers", Sources: []string{callerID}, Ports: []policy.PortRange{{First: 80, Last: 80}}, Matches: matches,
	}})
	p, err := module.StartPlugin(t.Context(), wasmtest.Options{Now: time.Unix(1000, 0)}, wasmtest.PluginConfig{
		Name: config.AccessFilter, OnFailure: wasmtest.FailReload, ReloadBackoff: reload,
		Configuration: config.Config{Form: config.Access, Destination: identity.Workload{Namespace: "shop", Kind: "Workload", Name: "store"}, Version: 1, Table: table.Encode()}.Encode(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.VM().Close(context.Background()) })
	return p
}

func books(t *testing.T) []policy.Match {
	t.Helper()
	path, err := pattern.Path("/books$")
	if err != nil {
		t.Fatal(err)
	}
	return []policy.Match{{Name: "routes/books", Path: path}}
}

// connection is what the sidecar knows of the caller's.
func connection() wasmtest.StreamInfo {
	return wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", guest.ConnectionKey): wasmtest.Text(fmt.Sprintf("%s|%s|%d|80", callerID, label, 5000)),
		wasmtest.Path("response", "code"):                  wasmtest.Int(200),
	}}
}

// asks sends a request into the VM and says what became of it.
func asks(t *testing.T, p *wasmtest.Plugin, path string, more ...string) (answer string, s *wasmtest.Stream) {
	t.Helper()
	return asksFor(t, p, patience, path, more...)
}

func asksFor(t *testing.T, p *wasmtest.Plugin, limit time.Duration, path string, more ...string) (answer string, s *wasmtest.Stream) {
	t.Helper()
	s = p.HTTP(connection())
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := s.RequestHeaders(ctx, wasmtest.Pairs(append([]string{":method", "GET", ":path", path, ":authority", "store"}, more...)...), true)
	switch {
	case r.Reply != nil:
		answer = fmt.Sprint(r.Reply.Status)
	case r.Action == wasmtest.Continue && s.Upstream().Headers != nil:
		answer = "passes"
	default:
		answer = "waits"
	}
	return answer, s
}

// TestPoisonInWazero is the same table, with a clock that only the test moves:
// how long others are refused is exact.
func TestPoisonInWazero(t *testing.T) {
	module := compile(t, poisoned(t))
	t.Logf("%-24s | %-6s | %-6s | %-6s | %-8s", "panic in", "it", "denied", "others", "0.1 s later")
	for _, place := range places {
		p := judging(t, module, books(t))
		vm := p.VM()
		own, s := asks(t, p, allowedPath, "x-poison", place.poison)
		s.Log(t.Context())
		s.Done(t.Context())
		if strings.HasPrefix(place.poison, "tick") {
			_ = vm.Advance(t.Context(), 1500*time.Millisecond) // its error is the trap
		}
		other, s := asks(t, p, allowedPath)
		s.Done(t.Context())
		_ = vm.Advance(t.Context(), reload)
		later, s := asks(t, p, allowedPath)
		s.Done(t.Context())
		denied, s := asks(t, p, deniedPath, "x-poison", place.poison)
		s.Done(t.Context())
		t.Logf("%-24s | %-6s | %-6s | %-6s | %-8s", place.poison, own, denied, other, later)
		endless := strings.HasSuffix(place.poison, ":loop") // interrupted here, where Envoy would not
		if passed := own == "passes"; passed != place.served && !endless {
			t.Errorf("%s: the poisoned request %s", place.poison, own)
		}
		if denied == "passes" {
			t.Errorf("%s: a denied request passes", place.poison)
		}
		if later != "passes" {
			t.Errorf("%s: others are not served after the back-off: %s", place.poison, later)
		}
		if place.unnoticed() && other != "passes" {
			t.Errorf("%s: another request %s", place.poison, other)
		}
	}
}

// What Envoy lets through to the filter at most.
const (
	largestPath    = 8 << 10
	largestHeaders = 60 << 10
	mostHeaders    = 100
)

// A request costs its bytes times the clauses that read them. linear is how much
// more ten times the clauses may cost, on a machine that does other things too.
const linear = 30

// TestTheMostThatARequestCanCost: no loop of the product's ends later than its
// input does, and the input has an end.
func TestTheMostThatARequestCanCost(t *testing.T) {
	module := compile(t, programs.Module)
	costs := map[string]time.Duration{}
	var long []string
	for i := range mostHeaders - 10 {
		long = append(long, fmt.Sprintf("x-h%d", i), strings.Repeat("a", (largestHeaders-largestPath)/mostHeaders))
	}
	for _, tt := range []struct {
		name    string
		matches []policy.Match
		path    string
		headers []string
	}{
		{"smallest", books(t), "/books", nil},
		{"largest path", books(t), "/" + strings.Repeat("a", largestPath), nil},
		{"most segments", books(t), strings.Repeat("/.", largestPath/2), nil},
		{"most escapes", books(t), "/" + strings.Repeat("%41", largestPath/3), nil},
		{"largest headers", books(t), "/" + strings.Repeat("a", largestPath), long},
		{"largest headers, 100 clauses", clauses(t, 100), "/" + strings.Repeat("a", largestPath), long},
		{"one huge header, 10 clauses", clauses(t, 10), "/a", []string{"x-h1", strings.Repeat("a", largestHeaders-1000)}},
		{"one huge header, 100 clauses", clauses(t, 100), "/a", []string{"x-h1", strings.Repeat("a", largestHeaders-1000)}},
	} {
		p := judging(t, module, tt.matches)
		var worst time.Duration
		best := time.Hour
		const rounds = 10
		for range rounds {
			began := time.Now()
			answer, s := asksFor(t, p, time.Minute, tt.path, tt.headers...)
			took := time.Since(began)
			s.Done(t.Context())
			worst, best = max(worst, took), min(best, took)
			if passes := tt.path == allowedPath; (answer == "passes") != passes || p.VM().Failure() != nil {
				t.Errorf("%s: it %s, %v", tt.name, answer, p.VM().Failure())
			}
		}
		t.Logf("%-32s best %8v, worst %8v, memory %d MB", tt.name, best.Round(time.Microsecond), worst.Round(time.Microsecond), p.VM().MemoryBytes()>>20)
		costs[tt.name] = best
	}
	if few, many := costs["one huge header, 10 clauses"], costs["one huge header, 100 clauses"]; many > linear*few {
		t.Errorf("ten times the clauses cost %v instead of %v", many, few)
	}
}

// clauses read the whole path and the whole of a header, and fail at its end.
func clauses(t *testing.T, n int) []policy.Match {
	t.Helper()
	path, err := pattern.Path("/a+")
	if err != nil {
		t.Fatal(err)
	}
	var out []policy.Match
	for i := range n {
		value, err := pattern.Value(fmt.Sprintf("(a|b)+end%d", i))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, policy.Match{Name: fmt.Sprintf("routes/m%d", i), Path: path, Headers: []policy.HeaderMatch{{Name: "x-h1", Value: value}}})
	}
	return out
}
