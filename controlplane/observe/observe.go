// Package observe keeps what sidecars saw of the traffic that reached their
// applications: who called whom, on which port, by which method and path.
//
// It is pure: entries come in with the time at which they arrived, and what is
// kept is bounded, whatever a sidecar sends. What did not fit is counted and
// told. It never decides about a request, never keeps a query, a header or an
// address, and never believes what an entry says of its own sender.
package observe

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// The bounds of a Set.
const (
	// MaxPaths is how many distinct paths are kept for one source, destination,
	// port and method.
	MaxPaths = 1_000
	// MaxOfDestination is how many observations are kept of one destination, so
	// that none can use up the room of the others.
	MaxOfDestination = 10_000
	// MaxObservations is how many are kept in all.
	MaxObservations = 50_000
	// MaxPath is the longest path kept, in bytes.
	MaxPath = 1024
	// MaxMethod is the longest method kept, in bytes.
	MaxMethod = 32
	// maxLosses is how many kinds of losses are told apart.
	maxLosses = 1_000
)

// Observation is one kind of request, or an opaque connection, and how often it
// was seen.
type Observation struct {
	// Destination and Source are service accounts.
	Destination mesh.Name
	Source      mesh.Name
	// Port is the container port.
	Port uint16
	// Opaque is a TCP connection; it has neither method nor path.
	Opaque bool   `json:",omitempty"`
	Method string `json:",omitempty"`
	// Path is in the canonical form of policy.Normalize, without its query.
	Path string `json:",omitempty"`
	// Count is how many ended, NotFound how many of them the application answered
	// 404 or 405: what a scan leaves behind.
	Count    uint64
	NotFound uint64 `json:",omitempty"`
	First    time.Time
	Last     time.Time
}

// Cause says why something seen is not among the observations.
type Cause string

// The causes of a Loss.
const (
	// NoIdentity: the caller showed no certificate.
	NoIdentity Cause = "no identity"
	// ForeignIdentity: the certificate names no service account of this mesh.
	ForeignIdentity Cause = "foreign identity"
	// MorePaths: there were more than MaxPaths.
	MorePaths Cause = "more paths"
	// NoRoom: MaxOfDestination or MaxObservations was reached.
	NoRoom Cause = "no room"
	// Unreadable: the path is longer than MaxPath or has no single reading, or
	// the method or the port is none.
	Unreadable Cause = "unreadable"
)

// Loss counts what was seen and not kept. Fields that are not known, or not told
// apart, are empty.
type Loss struct {
	Cause       Cause
	Destination mesh.Name
	Source      mesh.Name
	Port        uint16
	Method      string `json:",omitempty"`
	Count       uint64
}

// Report is what a Set holds, sorted.
type Report struct {
	// Since is when observing began.
	Since        time.Time
	Observations []Observation
	Losses       []Loss
}

// Set is what was observed. It is not safe for use by two goroutines.
type Set struct {
	trustDomain string
	since       time.Time
	seen        map[key]*Observation
	paths       map[key]int // by key without path
	of          map[mesh.Name]int
	losses      map[Loss]uint64 // by loss without count
}

// key is an Observation without its figures.
type key struct {
	destination, source mesh.Name
	port                uint16
	opaque              bool
	method, path        string
}

// New returns an empty set that knows the service accounts of one trust domain.
func New(trustDomain string, since time.Time) *Set {
	return &Set{
		trustDomain: trustDomain, since: since,
		seen: map[key]*Observation{}, paths: map[key]int{}, of: map[mesh.Name]int{}, losses: map[Loss]uint64{},
	}
}

// count adds one sighting of k. An entry that is not final makes the observation
// known early and is not counted: its final one will be.
func (s *Set) count(k key, final, notFound bool, at time.Time) {
	o := s.seen[k]
	if o == nil {
		if cause := s.full(k); cause != "" {
			if final {
				s.lose(Loss{Cause: cause, Destination: k.destination, Source: k.source, Port: k.port, Method: k.method})
			}
			return
		}
		o = &Observation{
			Destination: k.destination, Source: k.source, Port: k.port,
			Opaque: k.opaque, Method: k.method, Path: k.path, First: at,
		}
		s.seen[k] = o
		s.paths[k.withoutPath()]++
		s.of[k.destination]++
	}
	o.Last = at
	if final {
		o.Count++
	}
	if final && notFound {
		o.NotFound++
	}
}

// full says why no room is left for k; empty if there is some.
func (s *Set) full(k key) Cause {
	switch {
	case s.paths[k.withoutPath()] >= MaxPaths:
		return MorePaths
	case s.of[k.destination] >= MaxOfDestination, len(s.seen) >= MaxObservations:
		return NoRoom
	}
	return ""
}

func (k key) withoutPath() key {
	k.path = ""
	return k
}

// lose counts what is not kept. A sender that makes up names and ports cannot
// make the count of losses grow without bound: beyond one only causes are told.
func (s *Set) lose(l Loss) {
	if _, known := s.losses[l]; !known && len(s.losses) >= maxLosses {
		l = Loss{Cause: l.Cause}
	}
	s.losses[l]++
}

// Report returns a sorted copy of everything.
func (s *Set) Report() Report {
	r := Report{Since: s.since, Observations: make([]Observation, 0, len(s.seen)), Losses: make([]Loss, 0, len(s.losses))}
	for _, o := range s.seen {
		r.Observations = append(r.Observations, *o)
	}
	for l, n := range s.losses {
		l.Count = n
		r.Losses = append(r.Losses, l)
	}
	slices.SortFunc(r.Observations, Observation.Compare)
	slices.SortFunc(r.Losses, func(a, b Loss) int {
		return cmp.Or(a.Destination.Compare(b.Destination), strings.Compare(string(a.Cause), string(b.Cause)),
			a.Source.Compare(b.Source), cmp.Compare(a.Port, b.Port), strings.Compare(a.Method, b.Method))
	})
	return r
}

// Compare orders observations by what was seen; figures do not count.
func (o Observation) Compare(p Observation) int {
	opaque := func(o Observation) int {
		if o.Opaque {
			return 1
		}
		return 0
	}
	return cmp.Or(o.Destination.Compare(p.Destination), o.Source.Compare(p.Source), cmp.Compare(o.Port, p.Port),
		opaque(o)-opaque(p), strings.Compare(o.Path, p.Path), strings.Compare(o.Method, p.Method))
}
