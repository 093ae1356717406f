package mesh

import (
	"cmp"
	"slices"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// Scope says of each caller which ports of which services concern it. It
// remembers what it worked out, so one is made for each snapshot, and it belongs
// to one goroutine.
type Scope struct {
	snapshot *Snapshot
	tables   map[Name]*policy.Table
	modes    map[Name]policy.Mode
	doors    map[door][]judge
}

// door is a port that callers dial.
type door struct {
	service Name
	port    uint16
}

// judge is what decides at endpoints that decide alike.
type judge struct {
	account Name
	port    uint16
	mode    policy.Mode
}

// Scope returns the scope of every caller in s.
func (s *Snapshot) Scope() *Scope {
	c := &Scope{snapshot: s, tables: map[Name]*policy.Table{}, modes: map[Name]policy.Mode{}, doors: map[door][]judge{}}
	for _, w := range s.Workloads {
		c.modes[w.Name] = w.Mode
	}
	return c
}

// Table returns the policy at the workloads of a service account.
func (c *Scope) Table(serviceAccount Name) *policy.Table {
	t, ok := c.tables[serviceAccount]
	if !ok {
		t = policy.Compile(c.snapshot.Grants(serviceAccount))
		c.tables[serviceAccount] = t
	}
	return t
}

// Standing is what a caller finds at one port of a service.
type Standing struct {
	// Open: some request, or the connection, can pass at one of the destinations.
	Open bool
	// Reason is why nothing can, the furthest that any destination gives: source,
	// or port. Where it is empty and nothing is open, nobody stands behind the
	// port. A destination may say more, policy, where nothing is granted to anyone;
	// but what others are granted is no news for this caller's sidecar.
	Reason policy.Reason
}

// Reach tells how the workloads of a service account stand to one port of a
// service. What counts is whether a destination would let anything pass: its
// own mode, never the caller's, and every destination that a split sends to.
func (c *Scope) Reach(account, service Name, port ServicePort) Standing {
	peer := SPIFFEID(c.snapshot.TrustDomain, account)
	var out Standing
	for _, j := range c.judges(service, port) {
		reason := c.Table(j.account).Barred(peer, j.port, port.Protocol.Opaque())
		if reason == policy.ReasonNone || j.mode.InForce(policy.Verdict{Reason: reason}).Allow {
			return Standing{Open: true}
		}
		if reason == policy.ReasonPort || out.Reason == policy.ReasonPort {
			out.Reason = policy.ReasonPort
		} else {
			out.Reason = policy.ReasonSource
		}
	}
	return out
}

// judges lists what decides about anything that is sent to a port, each once.
func (c *Scope) judges(service Name, port ServicePort) []judge {
	at := door{service, port.Port}
	out, known := c.doors[at]
	if known {
		return out
	}
	for _, backend := range c.snapshot.Backends(service, port.Port) {
		if backend.Weight == 0 {
			continue
		}
		behind, _ := c.snapshot.Service(backend.Service)
		served, _ := behind.Port(port.Port)
		for _, e := range served.Endpoints {
			if j := (judge{e.ServiceAccount, e.Port, c.modes[e.Workload]}); !slices.Contains(out, j) {
				out = append(out, j)
			}
		}
	}
	c.doors[at] = out
	return out
}

// Backends lists every service to which what is sent to a port of root can go,
// sorted by name, each with the largest weight that a split gives it.
func (s *Snapshot) Backends(root Name, port uint16) []Backend {
	var all []Backend
	unconditional := false
	for _, split := range s.SplitsAt(root, port) {
		if split.Conditional && len(split.Conditions) == 0 {
			continue // no request meets it
		}
		all = append(all, split.Backends...)
		unconditional = unconditional || !split.Conditional
	}
	if !unconditional {
		all = append(all, Backend{Service: root, Weight: 1})
	}
	slices.SortFunc(all, func(a, b Backend) int {
		return cmp.Or(a.Service.Compare(b.Service), cmp.Compare(b.Weight, a.Weight))
	})
	return slices.CompactFunc(all, func(a, b Backend) bool { return a.Service == b.Service })
}
