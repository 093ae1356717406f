package main_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// peer is a stream of a pod, of which the certificate says that owner.
func peer(pod, owner string) wasmtest.StreamInfo {
	info := from(buyer, 2000)
	info.Properties[wasmtest.Path("filter_state", guest.ConnectionKey)] = wasmtest.Text(
		fmt.Sprintf("%s|%s.pod.shop.peer.wasmesh.internal|2000|80", buyer, pod))
	if owner != "" {
		info.Properties[wasmtest.Path("filter_state", guest.SubjectKey)] = wasmtest.Text(owner)
	}
	return info
}

// request is one whole stream that took so long and was answered so.
func request(t *testing.T, p *wasmtest.Plugin, info wasmtest.StreamInfo, code int, took time.Duration, headers []wasmtest.Pair) {
	t.Helper()
	info.Properties[wasmtest.Path("response", "code")] = wasmtest.Int(int64(code))
	info.Properties[wasmtest.Path("request", "duration")] = wasmtest.Span(took)
	s := p.HTTP(info)
	s.RequestHeaders(t.Context(), headers, true)
	s.Done(t.Context())
}

// TestRequestsAreCountedByWorkload: what the certificate says of the pod and of its
// owner, and nothing else, names the source.
func TestRequestsAreCountedByWorkload(t *testing.T) {
	p := start(t, access(t))
	granted := get("x-role", "user", "x-forwarded-for", "10.0.0.1", "osm-stats-name", "forged")
	web := identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}
	for _, r := range []struct {
		pod, owner string
		code       int
		took       time.Duration
	}{
		{"web-6d4-x2", "CN=web,OU=Deployment", 200, 0},
		{"web-6d4-y3", "CN=web,OU=Deployment", 200, 999 * time.Microsecond},
		{"web-6d4-y3", "CN=web,OU=Deployment", 503, 5 * time.Millisecond},
		{"web-6d4-z4", "CN=web,OU=Rollout", 200, time.Second},
		{"old", "", 200, time.Second},
	} {
		request(t, p, peer(r.pod, r.owner), r.code, r.took, granted)
	}
	for _, want := range []struct {
		source identity.Workload
		code   int
		count  uint64
	}{
		{web, 200, 2}, {web, 503, 1},
		{identity.Workload{Namespace: "shop", Kind: "Pod", Name: "web-6d4-z4"}, 200, 1},
		{identity.Workload{Namespace: "shop", Kind: "Pod", Name: "old"}, 200, 1},
	} {
		if n := counter(p, traffic.RequestSeries(want.source, destination, want.code)); n != want.count {
			t.Errorf("%s %d: counted %d times, want %d", want.source, want.code, n, want.count)
		}
	}
	if m, _ := p.VM().Proxy().Metric(wasmtest.Histogram, traffic.DurationSeries(web, destination)); !slices.Equal(m.Samples, []uint64{0, 1, 5}) {
		t.Errorf("requests of web took %v ms, want 0, 1 and 5", m.Samples)
	}
}

// TestBytesAreCountedByEdge, of an answer that nobody got to see too.
func TestBytesAreCountedByEdge(t *testing.T) {
	p := start(t, access(t))
	web := identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}
	for _, size := range []struct{ request, response int64 }{{100, 2000}, {250, 0}, {1 << 40, 7}} {
		info := peer("web-6d4-x2", "CN=web,OU=Deployment")
		info.Properties[wasmtest.Path("request", "total_size")] = wasmtest.Int(size.request)
		info.Properties[wasmtest.Path("response", "total_size")] = wasmtest.Int(size.response)
		request(t, p, info, 200, 0, get("x-role", "user"))
	}
	for metric, want := range map[string]uint64{traffic.RequestBytes: 350 + 1<<40, traffic.ResponseBytes: 2007} {
		if n := counter(p, traffic.EdgeSeries(metric, web, destination)); n != want {
			t.Errorf("%s: %d, want %d", metric, n, want)
		}
	}
}

// TestCallsOfGRPCAreCountedByTheirStatus: the answer's own code says nothing.
func TestCallsOfGRPCAreCountedByTheirStatus(t *testing.T) {
	p := start(t, access(t))
	call := get("x-role", "user", "content-type", "application/grpc+proto")
	for status, times := range map[int]int{0: 3, 14: 2, 99: 1} {
		for range times {
			info := from(buyer, 2000)
			info.Properties[wasmtest.Path("response", "grpc_status")] = wasmtest.Int(int64(status))
			request(t, p, info, 200, time.Millisecond, call)
		}
	}
	request(t, p, from(buyer, 2000), 200, time.Millisecond, call) // an answer without a status
	odd := from(buyer, 2000)
	odd.Properties[wasmtest.Path("response", "grpc_status")] = wasmtest.Int(14)
	request(t, p, odd, 200, time.Millisecond, get("x-role", "user")) // no gRPC
	for code, want := range map[int]uint64{200: 5, 503: 2, 500: 1} {
		if n := counter(p, traffic.RequestSeries(buyerName, destination, code)); n != want {
			t.Errorf("%d: counted %d times, want %d", code, n, want)
		}
	}
}

var hostile = flag.Int("hostile", 20_000, "requests of TestHostileRequestsMakeNoSeries")

// TestHostileRequestsMakeNoSeries: hosts, paths, methods and codes add nothing to
// the few series that there are.
func TestHostileRequestsMakeNoSeries(t *testing.T) {
	p := start(t, access(t))
	random := rand.New(rand.NewPCG(1, 2))
	for n := range *hostile {
		word := fmt.Sprintf("%x", random.Uint64())
		request(t, p, from(buyer, 2000), random.IntN(2000)-500, time.Millisecond, wasmtest.Pairs(
			":method", strings.ToUpper(word), ":path", "/"+word, ":authority", word, "x-role", "user", "user-agent", word))
		if n == *hostile/2 {
			// One request that passes, so that not all are denials.
			request(t, p, from(buyer, 2000), 200, time.Millisecond, get("x-role", "user"))
		}
	}
	const most = 16
	var names []string
	for _, m := range p.VM().Proxy().Metrics() {
		if strings.Contains(m.Name, "source") {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 || len(names) > most {
		t.Errorf("%d series, want at most %d: %s", len(names), most, strings.Join(names, "\n"))
	}
	if bytes := len(strings.Join(names, "\n")); bytes > 5<<10 {
		t.Errorf("%d bytes of names", bytes)
	}
}

// TestPeersBeyondTheCapAreFolded: what is not told apart any more is counted all the
// same, and how much that is.
func TestPeersBeyondTheCapAreFolded(t *testing.T) {
	const peers = 3000
	p := start(t, access(t))
	for n := range peers {
		request(t, p, peer(fmt.Sprintf("pod-%d", n), ""), 200, time.Millisecond, get("x-role", "user"))
	}
	overflow := identity.Workload{Namespace: traffic.Overflow, Kind: traffic.Overflow, Name: traffic.Overflow}
	all, apart := counter(p, traffic.RequestSeries(overflow, destination, 200)), uint64(0)
	for n := range peers {
		apart += counter(p, traffic.RequestSeries(identity.Workload{Namespace: "shop", Kind: "Pod", Name: fmt.Sprintf("pod-%d", n)}, destination, 200))
	}
	if all == 0 || apart == 0 || all+apart != peers {
		t.Errorf("%d requests: %d told apart, %d folded", peers, apart, all)
	}
	if folded := counter(p, traffic.Folded); folded != all {
		t.Errorf("%d are said to be folded, %d are", folded, all)
	}
	if n := len(p.VM().Proxy().Metrics()); n > 2010 {
		t.Errorf("%d series", n)
	}
}
