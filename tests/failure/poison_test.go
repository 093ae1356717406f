package failure

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// place is where a stream is poisoned, and what it should come to.
type place struct {
	poison string
	// served: the poison strikes after the request was judged, or nowhere.
	served bool
	// either: it hangs on who is first, the answer or the loss of the VM.
	either bool
	// harmless: others must not notice.
	harmless bool
}

// places in an HTTP stream. Envoy is not told to ask the module about bodies and
// answers: poison there never acts.
var places = []place{
	{poison: "request headers, inside", harmless: true},
	{poison: "request headers"},
	{poison: "request headers:memory"},
	{poison: "request headers:stack"},
	{poison: "request headers:loop", served: true},
	{poison: "next stream", served: true, either: true},
	{poison: "request body", served: true, harmless: true},
	{poison: "request trailers", served: true, harmless: true},
	{poison: "response headers", served: true, harmless: true},
	{poison: "response body", served: true, harmless: true},
	{poison: "stream done, inside", served: true, harmless: true},
	{poison: "stream done", served: true},
	{poison: "tick, inside", served: true, harmless: true},
	{poison: "tick", served: true, either: true},
}

// unnoticed: nobody else may notice. A compiler whose code cannot recover traps
// where this project's would have denied.
func (p place) unnoticed() bool {
	return p.harmless && (*poisonedFile == "" || !strings.HasSuffix(p.poison, "inside"))
}

// TestPoison has one mesh for all: each poison has to leave it as it was.
func TestPoison(t *testing.T) {
	openLab(t, poisoned(t))
	t.Run("requests", testPoisonedRequests)
	t.Run("again and again", testPoisonAgain)
	t.Run("connections", testPoisonedConnections)
}

// testPoisonedRequests prints, for each callback, what the poisoned stream got,
// what others got meanwhile, and for how long.
func testPoisonedRequests(t *testing.T) {
	kept := &http.Transport{}
	defer kept.CloseIdleConnections()
	o := startOthers(func(int) got { return request(kept, allowedPath, "") })
	defer o.stop()
	t.Logf("%-24s | %-9s | denied | %-30s | %8s | %8s", "panic in", "it got", "others got", "for", "slowest")
	for _, p := range places {
		fresh := &http.Transport{DisableKeepAlives: true}
		began := time.Now()
		own := request(fresh, allowedPath, p.poison)
		if strings.HasPrefix(p.poison, "tick") {
			time.Sleep(1500 * time.Millisecond) // the module ticks every second
		}
		o.healed(t, p.poison, began)
		denied := request(fresh, deniedPath, p.poison)
		if strings.HasPrefix(p.poison, "tick") {
			time.Sleep(1500 * time.Millisecond)
		}
		o.healed(t, p.poison, began)
		asked, bad, _, gap, slowest, answers, _ := o.since(began)
		t.Logf("%-24s | %-9s | %-6s | %-30s | %8v | %8v", p.poison, own.answer, denied.answer, sums(answers, asked), gap.Round(time.Millisecond), slowest.Round(time.Millisecond))
		if own.fine != p.served && !p.either {
			t.Errorf("%s: the poisoned request got %s", p.poison, own.answer)
		}
		if denied.opened {
			t.Errorf("%s: a request that is denied got through", p.poison)
		}
		if p.unnoticed() && bad > 0 {
			t.Errorf("%s: %d of %d others noticed: %v", p.poison, bad, asked, answers)
		}
	}
}

// testPoisonAgain: a caller that may call at all can keep the sidecar of
// its destination from serving, and never opens it.
func testPoisonAgain(t *testing.T) {
	kept, fresh := &http.Transport{}, &http.Transport{DisableKeepAlives: true}
	defer kept.CloseIdleConnections()
	o := startOthers(func(turn int) got {
		if turn%4 == 3 {
			g := request(kept, deniedPath, "")
			g.fine = g.answer == "403"
			return g
		}
		return request(kept, allowedPath, "")
	})
	defer o.stop()
	began := time.Now()
	sent := 0
	for ; time.Since(began) < 4*time.Second; sent++ {
		if g := request(fresh, allowedPath, "request headers"); g.fine {
			t.Errorf("a poisoned request was served")
		}
		time.Sleep(50 * time.Millisecond)
	}
	over := time.Now()
	o.healed(t, "after the last one", over)
	asked, bad, opened, _, slowest, answers, last := o.since(began)
	t.Logf("%d poisoned requests in 4 s: of %d others %d got no answer of the policy's (%v), %d opened, slowest %v; served again %v after the last",
		sent, asked, bad, answers, opened, slowest.Round(time.Millisecond), max(0, last.Sub(over)).Round(time.Millisecond))
	if opened > 0 || bad == 0 {
		t.Errorf("%d opened; %d bad: if none was, the poison did nothing", opened, bad)
	}
}

// sums is "3 of 4 200, 1 503".
func sums(answers map[string]int, asked int) string {
	var out []string
	for _, answer := range slices.Sorted(maps.Keys(answers)) {
		out = append(out, fmt.Sprintf("%d %s", answers[answer], answer))
	}
	return fmt.Sprintf("of %d: %s", asked, strings.Join(out, ", "))
}
