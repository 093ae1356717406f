package scenarios

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// ownRefusals are what the caller's own sidecar has counted. Only those on the
// road through it have one.
func (e *envoy) ownRefusals(ctx context.Context, c call) (map[string]uint64, error) {
	if e.road == straight || c.outside() {
		return nil, nil
	}
	return e.mesh.Stats(ctx, c.caller.Name, `^`+traffic.OwnScope+`\.`+traffic.Forbidden)
}

// refusedByOwn reports whether the caller's own sidecar refused a request. It
// fails where the sidecar should have and did not, or the reverse, or where its
// counter says another reason than the page: policy is none that it can know.
func (e *envoy) refusedByOwn(ctx context.Context, c call, before map[string]uint64, answer outcome) (bool, error) {
	if before == nil || answer == reject {
		return false, nil
	}
	port, _ := c.service.Port(c.request.port)
	standing := e.scope.Reach(c.caller.ServiceAccount, c.service.Name, port)
	series := traffic.OwnScope + "." + traffic.Forbidden + ".destination." + fmt.Sprintf("%s:%d", c.service.Name, port.Port) + ".reason."
	// A connection to another port, from before, may be counted just now.
	elsewhere := func(name string, _ uint64) bool { return !strings.HasPrefix(name, series) }
	expected := maps.Clone(before)
	maps.DeleteFunc(expected, elsewhere)
	switch {
	case !standing.Open:
		expected[series+string(standing.Reason)]++
	case answer == deny && !port.Protocol.Opaque(): // the destination's answer passed through it
		expected[series]++
	}
	after, err := e.ownRefusals(ctx, c)
	// A caller may hear of the end of its connection before it is counted.
	for end := time.Now().Add(time.Second); err == nil && time.Now().Before(end); after, err = e.ownRefusals(ctx, c) {
		maps.DeleteFunc(after, elsewhere)
		if maps.Equal(after, expected) {
			break
		}
	}
	if err != nil {
		return false, err
	}
	if !maps.Equal(after, expected) {
		return false, fmt.Errorf("the answer is %s, and the counters of the caller's sidecar went from %v to %v, want %v", answer, before, after, expected)
	}
	if standing.Open {
		return false, nil
	}
	if answer != deny || !agreesWith(c.want, standing) {
		return true, fmt.Errorf("the caller's own sidecar answered %s because of %s", answer, standing.Reason)
	}
	return true, nil
}

// agreesWith compares a verdict with what the caller's own sidecar knows.
func agreesWith(want verdict, standing mesh.Standing) bool {
	reason := policy.Reason(want.detail)
	if reason == policy.ReasonPolicy {
		reason = policy.ReasonSource
	}
	return want.outcome == deny && reason == standing.Reason
}
