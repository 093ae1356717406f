package serve

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// state is everything the loop knows.
type state struct {
	// mesh builds what proxies should have; nil until something is published.
	mesh *xds.Mesh
	// snapshot is what mesh builds from.
	snapshot *mesh.Snapshot
	// module is the digest that what mesh builds names.
	module  string
	streams map[string]*stream
	log     *slog.Logger
	// soonest is when the next offer is due; zero: none is.
	soonest time.Time
	// tell makes the state known to others.
	tell func()
	put  func(ctx context.Context, key string, r xds.Resources) error
	drop func(key string)
}

// stream is one proxy's stream. A proxy that reconnects is a new one.
type stream struct {
	proxy mesh.Name
	// bearer is what else the certificate says, and how the stream is ended.
	bearer bearer
	// known: the mesh had this proxy's workload at some time of this stream.
	known bool
	// barred: nothing more is sent; the stream is ending.
	barred  bool
	since   time.Time
	current xds.Resources
	desired xds.Resources
	// waiting are the names of the current step that are not acknowledged yet.
	waiting map[string]map[string]bool
	// brought are the versions the proxy had when it connected, by type and name.
	brought map[string]map[string]string
	// held: the proxy refused a part of this step, so that what builds on it must
	// not follow. The next publication tries again.
	held bool
	// reached: current is desired. To compare them takes time, and the state is
	// told after every answer of any proxy.
	reached bool
	// bytes counts what was sent.
	bytes   uint64
	module  string
	expires time.Time
	// sent are the responses of a type that have no answer yet, oldest first: a
	// proxy may be sent a second one before it has answered the first.
	sent     map[string][]delivery
	refusals map[string][]Refusal // by type
	// offers are of filters, by name.
	offers map[string]offer
	// tell bounds the lines about its refusals.
	tell door.Teller
}

// delivery is a response on its way.
type delivery struct {
	nonce string
	names []string
	size  int
}

// event is something that happened, applied by the loop.
type event interface {
	apply(ctx context.Context, s *state) error
}

type published struct {
	snapshot *mesh.Snapshot
	settings xds.Settings
}

func (e published) apply(ctx context.Context, s *state) error {
	s.snapshot = e.snapshot
	s.mesh, s.module = xds.Prepare(e.snapshot, e.settings, s.mesh), e.settings.Module
	keys := slices.Sorted(maps.Keys(s.streams))
	for _, key := range keys {
		s.aim(key)
	}
	// Who has seen one proxy take an edit must not find another settled that has
	// not been sent it yet.
	s.tell()
	for _, key := range keys {
		if err := s.pursue(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

type opened struct {
	key    string
	proxy  mesh.Name
	at     time.Time
	bearer bearer
}

func (e opened) apply(ctx context.Context, s *state) error {
	s.streams[e.key] = &stream{
		proxy: e.proxy, bearer: e.bearer, since: e.at, sent: map[string][]delivery{}, refusals: map[string][]Refusal{},
	}
	if s.mesh == nil {
		return nil
	}
	s.aim(e.key)
	return s.pursue(ctx, e.key)
}

// certified says until when the certificate that opened a stream is good.
type certified struct {
	key     string
	expires time.Time
}

func (e certified) apply(_ context.Context, s *state) error {
	if st, ok := s.streams[e.key]; ok {
		st.expires = e.expires
	}
	return nil
}

type closed struct{ key string }

func (e closed) apply(_ context.Context, s *state) error {
	delete(s.streams, e.key)
	s.drop(e.key)
	return nil
}

type sent struct {
	key, typeURL string
	delivery     delivery
}

func (e sent) apply(_ context.Context, s *state) error {
	if st, ok := s.streams[e.key]; ok {
		st.sent[e.typeURL] = append(st.sent[e.typeURL], e.delivery)
		st.bytes += uint64(e.delivery.size)
	}
	return nil
}

type answered struct {
	key, typeURL, nonce string
	// cause is empty for an ACK.
	cause string
	at    time.Time
}

func (e answered) apply(ctx context.Context, s *state) error {
	st, ok := s.streams[e.key]
	if !ok {
		return nil
	}
	names, ok := st.take(e.typeURL, e.nonce)
	if !ok {
		return nil
	}
	for _, name := range names {
		delete(st.waiting[e.typeURL], name)
	}
	st.accept(e.typeURL, names) // what is refused again is told anew
	if e.typeURL == xds.FilterType {
		st.settleOffers(names)
	}
	if e.cause == "" {
		return s.advance(ctx, e.key)
	}
	if e.typeURL == xds.FilterType {
		s.refuse(st, names, e.at)
	}
	names = blamed(names, e.cause)
	st.held = st.held || e.typeURL != xds.FilterType
	st.refusals[e.typeURL] = append(st.refusals[e.typeURL], Refusal{Type: e.typeURL, Resources: names, Cause: e.cause, At: e.at})
	st.tell.Warn(s.log, e.at, "a proxy refused its configuration and keeps what it had",
		"proxy", st.proxy.String(), "type", shortType(e.typeURL), "resources", strings.Join(names, ","), "cause", e.cause)
	return s.advance(ctx, e.key)
}

// take removes a response that was answered and returns the names it speaks
// for: those that no later response carries too. False: it is not known.
func (st *stream) take(typeURL, nonce string) (names []string, ok bool) {
	all := st.sent[typeURL]
	i := slices.IndexFunc(all, func(d delivery) bool { return d.nonce == nonce })
	if i < 0 {
		return nil, false
	}
	later := all[i+1:]
	for _, name := range all[i].names {
		if !slices.ContainsFunc(later, func(d delivery) bool { return slices.Contains(d.names, name) }) {
			names = append(names, name)
		}
	}
	st.sent[typeURL] = slices.Delete(all, i, i+1)
	return names, true
}

// accept forgets the refusals of what is acknowledged now, and of what nobody
// wants any more.
func (st *stream) accept(typeURL string, names []string) {
	var left []Refusal
	for _, r := range st.refusals[typeURL] {
		r.Resources = slices.DeleteFunc(slices.Clone(r.Resources), func(name string) bool {
			_, wanted := st.desired[typeURL][name]
			return !wanted || slices.Contains(names, name)
		})
		if len(r.Resources) > 0 {
			left = append(left, r)
		}
	}
	st.refusals[typeURL] = left
}

// aim sets what a stream should have in the end.
func (s *state) aim(key string) {
	st := s.streams[key]
	if st.barred = st.barred || s.bars(st); st.barred {
		return
	}
	st.desired = s.mesh.Build(st.proxy)
	st.number()
	st.held = false
	st.reached = st.current != nil && equal(st.current, st.desired)
}

// pursue sends what can go at once. Policies can: a revocation waits for no
// cluster.
func (s *state) pursue(ctx context.Context, key string) error {
	st := s.streams[key]
	if st.barred {
		return nil
	}
	if st.current == nil {
		st.current, st.reached = st.desired, true
		st.waiting = changed(nil, st.desired)
		if err := st.forgetBrought(); err != nil {
			return err
		}
		return s.put(ctx, key, st.current)
	}
	if filters := st.desired[xds.FilterType]; !maps.EqualFunc(filters, st.current[xds.FilterType], sameMessage) {
		st.current = maps.Clone(st.current)
		st.current[xds.FilterType] = filters
		st.reached = equal(st.current, st.desired)
		if err := s.put(ctx, key, st.current); err != nil {
			return err
		}
	}
	return s.advance(ctx, key)
}

// advance takes the steps that nothing stands in the way of.
func (s *state) advance(ctx context.Context, key string) error {
	st := s.streams[key]
	for !st.barred && !st.held && !st.isWaiting() && !st.reached {
		step := next(st.current, st.desired)
		st.waiting = changed(st.current, step)
		st.current = step
		st.reached = equal(st.current, st.desired)
		if err := s.put(ctx, key, step); err != nil {
			return err
		}
	}
	return nil
}

// isWaiting reports whether the current step is not acknowledged yet. What is no
// longer a part of it, a filter that nobody wants any more, never will be.
func (st *stream) isWaiting() bool {
	for typeURL, names := range st.waiting {
		for name := range names {
			if _, there := st.current[typeURL][name]; there {
				return true
			}
		}
	}
	return false
}

func cacheSnapshot(r xds.Resources) (*cache.Snapshot, error) {
	all := map[string][]types.Resource{}
	for typeURL, byName := range r {
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			all[typeURL] = append(all[typeURL], byName[name])
		}
	}
	return cache.NewSnapshot("", all)
}

// shortType is the last part of a type URL, as people say it.
func shortType(typeURL string) string {
	return typeURL[strings.LastIndexByte(typeURL, '.')+1:]
}
