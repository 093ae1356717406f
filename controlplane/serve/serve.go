// Package serve publishes each proxy's resources over delta ADS and keeps what
// the proxies answer.
//
// One loop owns all state; streams only send it events. The package never
// builds a resource itself, never trusts what a proxy says of itself beyond its
// certificate, and never hurries with what a proxy refused: the proxy keeps its
// last good, the refusal is told, and a filter is offered again with growing
// pauses.
package serve

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// served lists the resource types, in the order in which a proxy that has
// nothing yet takes them.
func served() []string {
	return []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.FilterType, xds.RuntimeType}
}

// Server is a delta ADS server. Run must be running for anything to happen.
type Server struct {
	log    *slog.Logger
	cache  cache.SnapshotCache
	events chan event
	// stopped is closed when Run has ended.
	stopped chan struct{}
	streams atomic.Int64
	status  atomic.Pointer[[]Proxy]
	guests  guests
	// tell bounds the lines that proxies can cause.
	tell door.Teller
}

// Proxy is one connected sidecar as the control plane sees it.
type Proxy struct {
	Name mesh.Name
	// Replica is the control plane of several that serves it; empty of one.
	Replica string `json:",omitempty"`
	// Since is when its stream opened.
	Since time.Time
	// Settled is true when it has acknowledged everything it should have. Whether
	// a policy runs is told by the filter itself, not by an acknowledgement.
	Settled bool
	// Waiting are the resources of its current step that it has not acknowledged.
	Waiting []Resource
	// Module is the digest of the filter module in what it acknowledged last, empty
	// if its workload has no port that a filter judges.
	Module string
	// Expires is when the certificate of its stream ends.
	Expires time.Time
	// Sent counts the bytes of all responses on its stream.
	Sent uint64
	// Refusals are the types whose last answer was a NACK.
	Refusals []Refusal
}

// Resource names one, by its type URL and its own name.
type Resource struct{ Type, Name string }

// Refusal is a NACK. The proxy goes on with what it had.
type Refusal struct {
	Type      string
	Resources []string
	Cause     string
	At        time.Time
}

// New returns a server that logs refusals to log.
func New(log *slog.Logger) *Server {
	s := &Server{
		log:     log,
		cache:   cache.NewSnapshotCache(true, cache.IDHash{}, nil),
		events:  make(chan event, 64),
		stopped: make(chan struct{}),
	}
	s.status.Store(&[]Proxy{})
	return s
}

// Publish makes a snapshot what every connected proxy should have.
func (s *Server) Publish(ctx context.Context, snapshot *mesh.Snapshot, settings xds.Settings) error {
	return s.send(ctx, published{snapshot, settings})
}

// Proxies returns the connected proxies, sorted by name.
func (s *Server) Proxies() []Proxy { return *s.status.Load() }

func (s *Server) send(ctx context.Context, e event) error {
	select {
	case s.events <- e:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// statusInterval is how old the status may be while much happens.
const statusInterval = 100 * time.Millisecond

// Run is the only goroutine that touches the state: one event at a time, until
// ctx ends.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.stopped)
	state := state{streams: map[string]*stream{}, log: s.log, put: s.put, drop: s.cache.ClearSnapshot}
	var told time.Time
	state.tell = func() {
		status := state.proxies()
		s.status.Store(&status)
		told = time.Now()
	}
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		if !state.soonest.IsZero() {
			due.Reset(time.Until(state.soonest))
		}
		var e event
		select {
		case <-ctx.Done():
			return nil
		case at := <-due.C:
			e = offersDue{at}
		case e = <-s.events:
		}
		if err := e.apply(ctx, &state); err != nil {
			return err
		}
		if len(s.events) > 0 && time.Since(told) < statusInterval {
			continue // there is more to come: to look at all proxies after each would be the greater work
		}
		state.tell()
	}
}

// put hands one stream's resources to the cache, which sends what differs from
// what the proxy has, each resource with the hash of its content as version.
func (s *Server) put(ctx context.Context, key string, r xds.Resources) error {
	snapshot, err := cacheSnapshot(r)
	if err != nil {
		return fmt.Errorf("resources of %s: %w", key, err)
	}
	return s.cache.SetSnapshot(ctx, key, snapshot)
}
