package sidecar

import (
	"context"
	"strings"
	"time"
)

const (
	drainPoll = 100 * time.Millisecond
	// quietPolls in a row without a connection end the drain: the last one may
	// have been between two requests.
	quietPolls = 3
)

// drained waits until nobody has a connection to the Envoy any more, or ctx ends.
// In a pod the application has ended by now, so that usually nobody has: a Job
// does not wait for its sidecar.
func (p *proxy) drained(ctx context.Context) {
	quiet := 0
	for quiet < quietPolls && sleepUntil(ctx, time.Now().Add(drainPoll)) {
		select {
		case <-p.ended:
			return
		default:
		}
		n, err := p.admin.connections(ctx)
		if err != nil || n > 0 {
			quiet = 0
			continue
		}
		quiet++
	}
}

// connections counts those that listeners hold. One that belongs to no listener
// any more is not seen, so who dials out is counted too.
func (a Admin) connections(ctx context.Context) (n uint64, err error) {
	body, err := a.Get(ctx, `/stats?filter=%5E(listener%5C..*%5C.downstream_cx_active%7Ccluster%5C..*%5C.upstream_rq_active)$`)
	if err != nil {
		return 0, err
	}
	for name, value := range parseStats(string(body)) {
		if !strings.HasPrefix(name, "listener.admin.") && !strings.HasPrefix(name, "cluster.controlplane.") {
			n += value
		}
	}
	return n, nil
}
