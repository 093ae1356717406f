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

// maxSeries bounds what one filter defines: the sidecar never frees a series.
const maxSeries = 2000

// overflow is the source under which everything past maxSeries is counted.
const overflow = "overflow"

// Counters are the series of one destination. They live as long as the plugin.
// Of nil Counters every Source is nil, and a nil Source counts nothing.
type Counters struct {
	destination string
	sources     map[string]*Source
	series      int
}

// Source counts what one peer does. Its series are defined when first needed.
type Source struct {
	counters *Counters
	name     string
	codes    map[int]guest.Counter
	events   map[event]guest.Counter
}

// event is what is counted with a reason, or without.
type event struct {
	metric string
	reason policy.Reason
}

// New returns counters for a destination, given as "namespace/name".
func New(destination string) *Counters {
	return &Counters{destination: destination, sources: map[string]*Source{}}
}

// Source returns the counters of the peer with that certificate label.
func (c *Counters) Source(dnsName string) *Source {
	if c == nil {
		return nil
	}
	if s, ok := c.sources[dnsName]; ok {
		return s
	}
	name := traffic.Unknown
	if label, ok := identity.ParseLabel(dnsName); ok {
		name = strings.Clone(label.String())
	}
	if len(c.sources) >= maxSeries {
		return c.named(overflow, overflow)
	}
	return c.named(strings.Clone(dnsName), name)
}

func (c *Counters) named(key, name string) *Source {
	if s, ok := c.sources[key]; ok {
		return s
	}
	s := &Source{
		counters: c,
		name:     name,
		codes:    map[int]guest.Counter{},
		events:   map[event]guest.Counter{},
	}
	c.sources[key] = s
	return s
}

// Finished counts one finished request.
func (s *Source) Finished(code int) {
	if s == nil {
		return
	}
	counter, ok := s.codes[code]
	if !ok {
		if s.counters.full() && s.name != overflow {
			s.counters.named(overflow, overflow).Finished(0)
			return
		}
		if s.name == overflow {
			code = 0
		}
		counter = s.counters.define(traffic.RequestSeries(s.name, s.counters.destination, code))
		s.codes[code] = counter
	}
	counter.Increment()
}

// Denied counts one refusal.
func (s *Source) Denied(reason policy.Reason) { s.count(event{traffic.Denials, reason}) }

// Audited counts what passed and would be refused under mode enforce.
func (s *Source) Audited(reason policy.Reason) { s.count(event{traffic.Audited, reason}) }

// Revoked counts the end of what had been allowed before.
func (s *Source) Revoked(reason policy.Reason) { s.count(event{traffic.Revoked, reason}) }

// Connected counts one connection to an opaque port.
func (s *Source) Connected() { s.count(event{metric: traffic.Connections}) }

func (s *Source) count(e event) {
	if s == nil {
		return
	}
	counter, ok := s.events[e]
	if !ok {
		if s.counters.full() && s.name != overflow {
			s.counters.named(overflow, overflow).count(e)
			return
		}
		counter = s.counters.define(s.series(e))
		s.events[e] = counter
	}
	counter.Increment()
}

func (s *Source) series(e event) string {
	if e.metric == traffic.Connections {
		return traffic.ConnectionSeries(s.name, s.counters.destination)
	}
	return traffic.ReasonSeries(e.metric, s.name, s.counters.destination, string(e.reason))
}

func (c *Counters) full() bool { return c.series >= maxSeries }

func (c *Counters) define(name string) guest.Counter {
	c.series++
	return guest.DefineCounter(name)
}
