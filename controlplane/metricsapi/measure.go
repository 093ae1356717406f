package metricsapi

import (
	"maps"
	"slices"
)

// Measure is the sum of some flows, and why it may be too small.
type Measure struct {
	Success, Failure float64
	Latency          Histogram
	// Partial is empty where nothing is missing.
	Partial string
}

// with returns the sum with one more flow.
func (m *Measure) with(f Flow) *Measure {
	if m == nil {
		m = &Measure{}
	}
	if m.Latency == nil {
		m.Latency = Histogram{}
	}
	m.Success += f.Success
	m.Failure += f.Failure
	m.Latency.plus(f.Latency)
	return m
}

// Edge is the traffic between an object and one peer of it.
type Edge struct {
	// Out: the object calls the peer; else it is called by it.
	Out  bool
	Peer Peer
	Measure
}

// holds reports whether a peer belongs to the object.
func (o Object) holds(p Peer) bool {
	switch o.Kind.Name {
	case KindNamespace:
		return p.Namespace == o.Name.Name
	case KindPod:
		return p.Namespace == o.Name.Namespace && (p.Pod == o.Name.Name || p.Kind == KindPod && p.Name == o.Name.Name)
	case KindSplit:
		return slices.ContainsFunc(o.Backends, func(b Backend) bool { return b.holds(p) })
	}
	return p.Kind == o.Kind.Name && p.Namespace == o.Name.Namespace && p.Name == o.Name.Name
}

// holds goes by the pod where it is told: a Service may select some of a workload.
func (b Backend) holds(p Peer) bool {
	return slices.ContainsFunc(b.Peers, func(own Peer) bool {
		if p.Pod == "" {
			own.Pod = ""
		}
		return own == p
	})
}

// Received is all that reached an object.
func (t Traffic) Received(o Object) Measure { return t.received(o.holds) }

// ReceivedBy is all that reached the destinations behind a backend, by whatever
// way: nobody can tell whether a request was split.
func (t Traffic) ReceivedBy(b Backend) Measure { return t.received(b.holds) }

func (t Traffic) received(holds func(Peer) bool) Measure {
	m := &Measure{}
	for _, f := range t.Flows {
		if holds(f.Destination) {
			m.with(f)
		}
	}
	m.Partial = t.missing(holds)
	return *m
}

// missing tells why the figures of some destinations are too small.
func (t Traffic) missing(holds func(Peer) bool) string {
	for _, m := range t.Misses {
		if m.Peer == (Peer{}) || holds(m.Peer) {
			return m.String()
		}
	}
	return ""
}

// String says whose figures are missing, and why.
func (m Miss) String() string {
	switch {
	case m.Peer == (Peer{}):
		return "the traffic " + m.Cause
	case m.Pod != "":
		return "Pod " + m.Namespace + "/" + m.Pod + " " + m.Cause
	}
	return m.Kind + " " + m.Namespace + "/" + m.Name + " " + m.Cause
}

// Edges are the peers of an object with which there was traffic, sorted: who
// called it first. What an object sends within itself is in both directions.
func (t Traffic) Edges(o Object) []Edge {
	in, out := map[Peer]*Measure{}, map[Peer]*Measure{}
	for _, f := range t.Flows {
		if o.holds(f.Destination) {
			p := o.level(f.Source)
			in[p] = in[p].with(f)
		}
		if o.holds(f.Source) {
			p := o.level(f.Destination)
			out[p] = out[p].with(f)
		}
	}
	received := t.missing(o.holds)
	var edges []Edge
	for _, p := range slices.SortedFunc(maps.Keys(in), Peer.compare) {
		m := *in[p]
		m.Partial = received
		edges = append(edges, Edge{Peer: p, Measure: m})
	}
	for _, p := range slices.SortedFunc(maps.Keys(out), Peer.compare) {
		m := *out[p]
		m.Partial = t.missing(func(d Peer) bool { return o.level(d) == p })
		edges = append(edges, Edge{Out: true, Peer: p, Measure: m})
	}
	return edges
}

// Lacks tells why there may be more edges than told; empty if there cannot.
func (t Traffic) Lacks() string { return t.missing(func(Peer) bool { return true }) }

// level is a peer as an object of that kind sees it: namespaces see namespaces,
// pods pods where these are told, workloads workloads.
func (o Object) level(p Peer) Peer {
	switch {
	case p.IsAnybody():
	case o.Kind.Name == KindNamespace:
		return Peer{Kind: KindNamespace, Name: p.Namespace}
	case o.Kind.Name == KindPod && p.Pod != "":
		return Peer{Kind: KindPod, Namespace: p.Namespace, Name: p.Pod}
	}
	p.Pod = ""
	return p
}
