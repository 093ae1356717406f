// Package telemetry is the stage that counts requests, connections and what the
// policy said of them, in the sidecar's own metrics.
//
// It fails open: what it cannot count, it folds into an overflow series, and it
// never keeps a request from passing.
package telemetry

import (
	"strings"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

const (
	// maxSeries bounds what one filter defines: the sidecar never frees a series.
	maxSeries = 2000
	// maxPeers bounds the peers that are remembered. Beyond it all are read anew, as
	// pods come and go while their workloads stay.
	maxPeers = 2000
)

// Counters are the series of one destination. They live as long as the plugin.
// Of nil Counters every Source is nil, and a nil Source counts nothing.
type Counters struct {
	destination identity.Workload
	// peers finds what a peer is counted under by the label in its certificate.
	peers   map[string]*Source
	sources map[identity.Workload]*Source
	series  int
	folded  guest.Counter
}

// Source counts what one peer does. Its series are defined when first needed.
type Source struct {
	counters *Counters
	workload identity.Workload
	codes    map[int]guest.Counter
	duration *guest.Histogram
	events   map[event]guest.Counter
}

// event is what is counted with a reason, or without.
type event struct {
	metric string
	reason policy.Reason
}

// New returns counters for a destination.
func New(destination identity.Workload) *Counters {
	return &Counters{
		destination: destination, peers: map[string]*Source{}, sources: map[identity.Workload]*Source{},
		folded: guest.DefineCounter(traffic.Folded),
	}
}

// Source returns the counters of the current stream's peer, which has that label.
func (c *Counters) Source(dnsName string) *Source {
	if c == nil {
		return nil
	}
	if s, ok := c.peers[dnsName]; ok {
		return s
	}
	if len(c.peers) >= maxPeers {
		clear(c.peers)
	}
	s := c.of(workloadOf(dnsName))
	c.peers[strings.Clone(dnsName)] = s
	return s
}

// workloadOf reads what the certificate of the current stream's peer says. A peer
// outside of the mesh is unknown, never a guess.
func workloadOf(dnsName string) identity.Workload {
	label, ok := identity.ParseLabel(dnsName)
	if !ok {
		return identity.Unknown()
	}
	owner, _ := identity.ParseOwner(guest.ReadSubject())
	w := identity.WorkloadOf(label, owner)
	return identity.Workload{Namespace: strings.Clone(w.Namespace), Kind: w.Kind, Name: strings.Clone(w.Name)}
}

func overflow() identity.Workload {
	return identity.Workload{Namespace: traffic.Overflow, Kind: traffic.Overflow, Name: traffic.Overflow}
}

func (c *Counters) of(w identity.Workload) *Source {
	if s, ok := c.sources[w]; ok {
		return s
	}
	if c.full() && w != overflow() {
		return c.of(overflow())
	}
	s := &Source{counters: c, workload: w, codes: map[int]guest.Counter{}, events: map[event]guest.Counter{}}
	c.sources[w] = s
	return s
}

// Finished counts one finished request: its code, and how long it took.
func (s *Source) Finished(code int) {
	if s == nil {
		return
	}
	_, known := s.codes[code]
	code = traffic.Code(code, len(s.codes), known)
	counter, ok := s.codes[code]
	if !ok {
		if s.full() {
			s.counters.of(overflow()).Finished(code)
			return
		}
		counter = s.counters.define(traffic.RequestSeries(s.workload, s.counters.destination, code))
		s.codes[code] = counter
	}
	s.counted(counter)
	if took, ok := guest.Milliseconds(); ok {
		s.took(took)
	}
	if request, response, ok := guest.Sizes(); ok {
		s.add(traffic.RequestBytes, request)
		s.add(traffic.ResponseBytes, response)
	}
}

func (s *Source) took(milliseconds uint64) {
	if s.duration == nil {
		h := guest.DefineHistogram(traffic.DurationSeries(s.workload, s.counters.destination))
		s.counters.series++
		s.duration = &h
	}
	s.duration.Record(milliseconds)
}

// Denied counts one refusal.
func (s *Source) Denied(reason policy.Reason) { s.count(event{traffic.Denials, reason}) }

// Audited counts what passed and would be refused under mode enforce.
func (s *Source) Audited(reason policy.Reason) { s.count(event{traffic.Audited, reason}) }

// Revoked counts the end of what had been allowed before.
func (s *Source) Revoked(reason policy.Reason) { s.count(event{traffic.Revoked, reason}) }

// Connected counts one connection to an opaque port.
func (s *Source) Connected() { s.count(event{metric: traffic.Connections}) }

// Received counts bytes of the peer on such a connection.
func (s *Source) Received(bytes int) { s.add(traffic.ReceivedBytes, uint64(bytes)) }

// Sent counts bytes to the peer.
func (s *Source) Sent(bytes int) { s.add(traffic.SentBytes, uint64(bytes)) }

// count counts one event, also as folded where it is.
func (s *Source) count(e event) {
	if s == nil {
		return
	}
	at := s.home(e)
	at.counted(at.events[e])
}

// add counts bytes.
func (s *Source) add(metric string, bytes uint64) {
	if s == nil {
		return
	}
	e := event{metric: metric}
	s.home(e).events[e].Add(bytes)
}

// home is the source that has the series of an event: s, or the overflow.
func (s *Source) home(e event) *Source {
	if _, ok := s.events[e]; ok {
		return s
	}
	if s.full() {
		return s.counters.of(overflow()).home(e)
	}
	s.events[e] = s.counters.define(s.series(e))
	return s
}

// full reports that there is no room for another series of s.
func (s *Source) full() bool { return s.counters.full() && s.workload != overflow() }

func (s *Source) counted(under guest.Counter) {
	under.Increment()
	if s.workload == overflow() {
		s.counters.folded.Increment()
	}
}

func (s *Source) series(e event) string {
	if e.reason == policy.ReasonNone {
		return traffic.EdgeSeries(e.metric, s.workload, s.counters.destination)
	}
	return traffic.ReasonSeries(e.metric, s.workload, s.counters.destination, string(e.reason))
}

func (c *Counters) full() bool { return c.series >= maxSeries }

func (c *Counters) define(series string) guest.Counter {
	c.series++
	return guest.DefineCounter(series)
}
