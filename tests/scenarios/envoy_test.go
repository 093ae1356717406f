package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// answerTimeout ends the wait for an answer that does not come. It is longer than
// a server waits for a handshake to begin.
const answerTimeout = 10 * time.Second

// envoy sends requests through a running mesh, to an application that records
// them: by the road that applications take, or straight.
type envoy struct {
	*house
	road road
	// scope says what callers' own sidecars refuse.
	scope *mesh.Scope
}

func (*envoy) tellsRule() bool { return false }

// hearsOutside: they have one road only, and the first judge asks them.
func (e *envoy) hearsOutside() bool { return e.road == throughSidecar }

// begin edits the policy under the running mesh, once for both roads.
func (e *envoy) begin(ctx context.Context, s stage) error {
	e.scope = s.snapshot.Scope()
	if e.road == straight {
		return nil
	}
	return e.house.apply(ctx, s)
}

// ask asks once, and a caller from outside for as long as an edit may take: no
// counter tells that a listener lets them in.
func (e *envoy) ask(ctx context.Context, c call) (verdict, error) {
	deadline := time.Now().Add(applyTimeout)
	for {
		got, err := e.once(ctx, c)
		if !c.outside() || got == c.want || time.Now().After(deadline) {
			return got, err
		}
		time.Sleep(retryInterval)
	}
}

const retryInterval = 50 * time.Millisecond

func (e *envoy) once(ctx context.Context, c call) (verdict, error) {
	before, err := e.counters(ctx, c.server.Name)
	if err != nil {
		return verdict{}, err
	}
	own, err := e.ownRefusals(ctx, c)
	if err != nil {
		return verdict{}, err
	}
	id := e.nextID()
	answer, err := e.travel(ctx, c, e.road, id)
	if err != nil {
		return verdict{}, err
	}
	after, err := e.counters(ctx, c.server.Name)
	if err != nil {
		return verdict{}, err
	}
	seen := e.applications.seen(id)
	if c.outside() && answer != allow {
		e.ended = append(e.ended, id) // a door may shut on what is inside already
	}
	if by, err := e.refusedByOwn(ctx, c, own, answer); err != nil {
		return verdict{}, err
	} else if by {
		if !maps.Equal(before, after) || len(seen) > 0 {
			err = fmt.Errorf("the caller's own sidecar refused it, the server's filter went from %v to %v, and the application saw %v", before, after, seen)
		}
		return c.want, err
	}
	counted, err := tally(c, before, after)
	if err != nil {
		return verdict{}, err
	}
	switch {
	case answer == allow && len(seen) == 1 && counted.passes():
		return counted, arrived(c, seen[0])
	case len(seen) > 0:
	case answer == deny && counted.outcome == deny:
		return counted, nil
	case answer == reject && (counted.outcome == reject || counted.outcome == allow):
		// A caller's own sidecar refuses a path before any filter sees it.
		return verdict{outcome: reject}, nil
	case answer == shut && counted.outcome == allow:
		return verdict{outcome: shut}, nil
	}
	return verdict{}, fmt.Errorf("the answer is %s, the server's filter counted %s, and the application saw %v", answer, counted, seen)
}

// arrived compares what an application saw with what was asked and judged.
func arrived(c call, s sighting) error {
	if s.server != c.server.Name || s.port != c.port {
		return fmt.Errorf("the request arrived at %s:%d, want %s:%d", s.server, s.port.Port, c.server.Name, c.port.Port)
	}
	if c.wire == tcp {
		return nil
	}
	path, _ := policy.Normalize(c.target)
	_, query, hasQuery := strings.Cut(c.target, "?")
	if hasQuery {
		query = "?" + query
	}
	if want := path.Literal + query; s.method != c.method || s.target != want {
		return fmt.Errorf("the application saw %s %s, and %s %s was judged", s.method, s.target, c.method, want)
	}
	return nil
}

// travel sends a request on its way and says what came back.
func (h *house) travel(ctx context.Context, c call, by road, id string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := h.dial(ctx, c, by)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if by == straight && c.wire == http1 {
		c.wire = http2 // which is all that sidecars speak with each other
	}
	answer, err := over(conn, c, id)
	switch {
	case answer == allow:
		h.allowed++
	case errors.Is(err, errShut) && c.outside():
		return shut, nil
	case errors.Is(err, errShut) && c.wire == tcp:
		return deny, nil
	}
	return answer, err
}
