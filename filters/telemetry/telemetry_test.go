package telemetry

import (
	"fmt"
	"testing"

	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

func counters() (*Counters, *Source) {
	c := New(identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "store"})
	return c, c.Source("buyer.pod.shop.peer.wasmesh.internal")
}

// TestSteadyStateAllocatesNothing: once its series are defined, counting a request or
// a chunk of a connection makes no garbage and no further series.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	c, s := counters()
	everything := func() {
		c.Source("buyer.pod.shop.peer.wasmesh.internal").Finished(200)
		s.Finished(503)
		s.took(7)
		s.add(traffic.RequestBytes, 100)
		s.Denied(policy.ReasonPath)
		s.Audited(policy.ReasonMethod)
		s.Connected()
		s.Received(5)
		s.Sent(5)
	}
	everything()
	defined := c.series
	if n := testing.AllocsPerRun(1000, everything); n != 0 {
		t.Errorf("%v allocations for a round of everything", n)
	}
	if c.series != defined {
		t.Errorf("%d series, then %d", defined, c.series)
	}
}

// TestSeriesEnd: whatever peers come, a filter defines a bounded number of series, and
// folds the rest.
func TestSeriesEnd(t *testing.T) {
	c, _ := counters()
	for n := range 3 * maxSeries {
		s := c.Source(fmt.Sprintf("pod-%d.pod.shop.peer.wasmesh.internal", n))
		s.Finished(200 + n%400)
		s.Received(n)
		s.Denied(policy.Reason(fmt.Sprint(n % 7)))
		if len(c.peers) > maxPeers {
			t.Fatalf("%d peers are remembered", len(c.peers))
		}
	}
	// The overflow itself has one series of each code, reason and kind.
	if c.series < maxSeries || c.series > maxSeries+30 {
		t.Errorf("%d series, want %d and those of the overflow", c.series, maxSeries)
	}
	if s := c.Source("late.pod.shop.peer.wasmesh.internal"); s.workload != overflow() {
		t.Errorf("another is counted as %v", s.workload)
	}
}
