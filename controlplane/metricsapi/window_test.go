package metricsapi_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

// counted is a scrape in which buyer was answered n times with 200; uptime 0 is not
// told.
func counted(n int, uptime int) string {
	text := fmt.Sprintf("osm_request_total{source_namespace=\"shop\",source_kind=\"Deployment\",source_name=\"buyer\","+
		"destination_namespace=\"shop\",destination_kind=\"Deployment\",destination_name=\"store-v1\",response_code=\"200\"} %d\n", n)
	if uptime > 0 {
		text += fmt.Sprintf("envoy_server_uptime{} %d\n", uptime)
	}
	return text
}

// scraped is one scrape; negative n means that it failed.
type scraped struct{ at, n, uptime int }

func TestWindow(t *testing.T) {
	for name, c := range map[string]struct {
		scrapes []scraped
		window  int
		want    float64
		partial string
	}{
		"difference":            {[]scraped{{0, 100, 0}, {10, 110, 0}, {20, 125, 0}, {30, 130, 0}}, 30, 30, ""},
		"only the window":       {[]scraped{{0, 100, 0}, {10, 110, 0}, {20, 125, 0}, {30, 130, 0}}, 20, 20, ""},
		"late scrapes":          {[]scraped{{0, 100, 0}, {11, 110, 0}, {19, 125, 0}, {30, 130, 0}}, 10, 5, ""},
		"a counter began anew":  {[]scraped{{0, 100, 0}, {10, 110, 0}, {20, 7, 0}, {30, 9, 0}}, 30, 19, ""},
		"a restart, not lower":  {[]scraped{{0, 1, 900}, {10, 2, 910}, {20, 7, 5}, {30, 9, 15}}, 30, 10, ""},
		"started in the window": {[]scraped{{20, 7, 5}, {30, 9, 15}}, 30, 9, ""},
		"once, since its start": {[]scraped{{30, 9, 15}}, 30, 9, ""},
		"known too short":       {[]scraped{{20, 7, 500}, {30, 9, 510}}, 30, 2, "has been read for 10s only"},
		"once, and old":         {[]scraped{{30, 9, 500}}, 30, 0, "has been read for 0s only"},
		"failed last":           {[]scraped{{0, 1, 0}, {10, 2, 0}, {20, 4, 0}, {30, -1, 0}}, 20, 3, "is out"},
		"failed between":        {[]scraped{{0, 1, 0}, {10, -1, 0}, {20, -1, 0}, {30, 8, 0}}, 30, 7, ""},
		"gone for long":         {[]scraped{{0, 1, 0}, {10, 2, 0}, {30, -1, 0}}, 10, 0, "is out"},
		"never":                 {[]scraped{{30, -1, 0}}, 30, 0, "is out"},
	} {
		w := metricsapi.NewWindow(time.Minute, interval)
		for _, s := range c.scrapes {
			if s.n < 0 {
				w.Fail(storePod, "is out")
				continue
			}
			w.Add(storePod, scrape(t, counted(s.n, s.uptime)), noon.Add(time.Duration(s.at)*time.Second))
		}
		got := w.Traffic(time.Duration(c.window)*time.Second, noon.Add(30*time.Second))
		m := got.Received(object(t, shop(), "deployments", "store-v1"))
		if m.Success != c.want || !strings.HasSuffix(m.Partial, c.partial) || (c.partial == "") != (m.Partial == "") {
			t.Errorf("%s: got %v, partial %q; want %v, %q", name, m.Success, m.Partial, c.want, c.partial)
		}
		if other := got.Received(object(t, shop(), "deployments", "store-v2")); other.Partial != "" {
			t.Errorf("%s: another destination is partial: %s", name, other.Partial)
		}
	}
}

// TestWindowIsBounded in time, targets and series.
func TestWindowIsBounded(t *testing.T) {
	w := metricsapi.NewWindow(time.Minute, interval)
	at := noon
	for i := range 10_000 {
		at = noon.Add(time.Duration(i) * interval)
		w.Add(storePod, scrape(t, counted(i, 0)), at)
	}
	if got := w.Kept(); got > 9 {
		t.Errorf("%d scrapes are kept, want 1 minute of them", got)
	}
	w.Retain(nil)
	if traffic := w.Traffic(time.Minute, at); len(traffic.Flows)+len(traffic.Misses) != 0 || w.Kept() != 0 {
		t.Errorf("what is gone is told: %+v", traffic)
	}
	w.Add(storePod, scrape(t, counted(1, 0)), at.Add(-time.Hour))
	w.Add(storePod, scrape(t, counted(5, 0)), at.Add(-2*time.Hour)) // a clock that was set back
	if w.Kept() != 1 {
		t.Error("a scrape from before the last one is taken")
	}
}

// TestWindowAtItsCaps holds what a full window costs against what docs/adr/0029 says.
func TestWindowAtItsCaps(t *testing.T) {
	const sidecars, edges, codes, scrapes = 1000, 25, 16, 31
	before := live()
	w := metricsapi.NewWindow(5*time.Minute, 10*time.Second)
	for n := range sidecars + 1 {
		of := metricsapi.Peer{Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("store-6c9f8d7b5-%05d", n)}
		counters := map[string]int{}
		for i := range edges * codes {
			from := metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: fmt.Sprintf("caller-%d", i/codes)}
			counters[series(from, metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: "store"}, fmt.Sprint(200+i%codes))] = 1
		}
		s := scrape(t, text(counters, 0))
		for i := range scrapes {
			w.Add(of, s, noon.Add(time.Duration(i)*10*time.Second))
		}
	}
	took := (live() - before) >> 20
	t.Logf("%d series, %d scrapes: %d MiB", sidecars*edges*codes, w.Kept(), took)
	if took > 150 {
		t.Errorf("a full window takes %d MiB", took)
	}
	if misses := w.Traffic(time.Minute, noon.Add(5*time.Minute)).Misses; len(misses) != 1 || !strings.Contains(misses[0].Cause, "beyond") {
		t.Errorf("the sidecar beyond the bound is told as %+v", misses)
	}
}

// live is what the heap holds.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCountsAreWhatWasCounted makes up traffic between all, and holds every answer
// against a plain count of it: no request is lost or told twice, whatever is asked.
func TestCountsAreWhatWasCounted(t *testing.T) {
	m := shop()
	peers := []metricsapi.Peer{{Kind: metricsapi.Unknown, Name: metricsapi.Unknown}, {Kind: "overflow", Name: "overflow"}}
	for _, o := range m.List(kind(t, "pods"), "") {
		p, _ := m.PeerOf(o.Name)
		peers = append(peers, p)
	}
	vm, _ := m.PeerOf(named("vm"))
	peers = append(peers, vm)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := metricsapi.NewWindow(10*time.Minute, interval)
		truth := map[[2]string]float64{} // requests by names of the two workloads
		counters, started := map[metricsapi.Peer]map[string]int{}, map[metricsapi.Peer]int{}
		for step := range 6 {
			for _, to := range peers[2:] { // of the mesh
				if counters[to] == nil {
					counters[to], started[to] = map[string]int{}, -1000
				} else if r.IntN(8) == 0 { // started anew, right after a scrape
					counters[to], started[to] = map[string]int{}, 10*step-9
				}
				for range r.IntN(6) {
					from := peers[r.IntN(len(peers))]
					n := r.IntN(20)
					code := []string{"200", "404", "500", "0"}[r.IntN(4)]
					counters[to][series(from, to, code)] += n
					if step > 0 {
						truth[[2]string{from.Name, to.Name}] += float64(n)
					}
				}
				w.Add(to, scrape(t, text(counters[to], 10*step-started[to])), noon.Add(time.Duration(step)*interval))
			}
		}
		traffic := w.Traffic(50*time.Second, noon.Add(50*time.Second))
		for _, o := range m.List(kind(t, "deployments"), "") {
			in, edges := traffic.Received(o), 0.0
			for _, e := range traffic.Edges(o) {
				key := [2]string{e.Peer.Name, o.Name.Name}
				if e.Out {
					key = [2]string{o.Name.Name, e.Peer.Name}
				} else {
					edges += e.Success + e.Failure
				}
				if got := e.Success + e.Failure; got != truth[key] {
					t.Fatalf("seed %d: %v has %v, want %v", seed, key, got, truth[key])
				}
			}
			if edges != in.Success+in.Failure {
				t.Fatalf("seed %d: edges to %s sum up to %v, it received %v", seed, o.Name, edges, in.Success+in.Failure)
			}
		}
		total := 0.0
		for _, n := range truth {
			total += n
		}
		if in := traffic.Received(object(t, m, "namespaces", "shop")); in.Success+in.Failure != total || in.Partial != "" {
			t.Fatalf("seed %d: the namespace has %v, want %v; partial %q", seed, in.Success+in.Failure, total, in.Partial)
		}
	}
}

// TestNobodyInParticular: who is not told apart is of no namespace.
func TestNobodyInParticular(t *testing.T) {
	m, w := shop(), metricsapi.NewWindow(time.Minute, interval)
	to, _ := m.PeerOf(m.List(kind(t, "pods"), "")[0].Name)
	for step := range 2 {
		counters := map[string]int{}
		for _, who := range []string{metricsapi.Unknown, "overflow"} {
			counters[series(metricsapi.Peer{Kind: who, Name: who}, to, "200")] = 7 * step
		}
		w.Add(to, scrape(t, text(counters, 1000+10*step)), noon.Add(time.Duration(step)*interval))
	}
	var got []string
	for _, e := range w.Traffic(interval, noon.Add(interval)).Edges(object(t, m, "namespaces", "shop")) {
		got = append(got, fmt.Sprint(e.Peer.Kind, e.Peer.Name, e.Success))
	}
	if want := []string{"overflowoverflow7", "unknownunknown7"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func series(from, to metricsapi.Peer, code string) string {
	one := func(side string, p metricsapi.Peer) string {
		if p.IsAnybody() {
			p.Namespace = p.Kind
		}
		return fmt.Sprintf("%s_namespace=%q,%s_kind=%q,%s_name=%q,", side, p.Namespace, side, p.Kind, side, p.Name)
	}
	return "osm_request_total{" + one("source", from) + one("destination", to) + fmt.Sprintf("response_code=%q}", code)
}

// text is a scrape of a sidecar that has been running for that many seconds.
func text(counters map[string]int, uptime int) string {
	var b strings.Builder
	for s, n := range counters {
		fmt.Fprintf(&b, "%s %d\n", s, n)
	}
	fmt.Fprintf(&b, "envoy_server_uptime{} %d\n", uptime)
	return b.String()
}

// nearest is the value that a share q of all are not above.
func nearest(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// bucketOf is where a value lies; above the last finite bound that bound stands
// for it.
func bucketOf(bounds []float64, v float64) (low, high float64) {
	for _, b := range bounds {
		if v <= b {
			return low, min(b, bounds[len(bounds)-2])
		}
		low = b
	}
	return low, low
}

// TestQuantileIsWithinTheBucket of the value itself, for made-up values.
func TestQuantileIsWithinTheBucket(t *testing.T) {
	bounds := []float64{1, 5, 10, 50, 100, 500, 1000, 5000, math.Inf(1)}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + r.IntN(200)
		values := make([]float64, n)
		h := metricsapi.Histogram{}
		for i := range values {
			values[i] = math.Exp(r.Float64()*8) * 0.9
			for _, b := range bounds {
				if values[i] <= b {
					h[b]++
				} else {
					h[b] += 0
				}
			}
		}
		for _, q := range []float64{0.5, 0.9, 0.99} {
			got, ok := h.Quantile(q)
			low, high := bucketOf(bounds, nearest(values, q))
			if !ok || got < low || got > high {
				t.Fatalf("quantile %v of %d values is %v, not within %v to %v", q, n, got, low, high)
			}
		}
	}
}
