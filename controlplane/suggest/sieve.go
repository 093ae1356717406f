package suggest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// sieve keeps the observations that a policy should be written for, and counts
// the others by reason.
type sieve struct {
	mesh *mesh.Snapshot
	// ports gives the protocols that an account's workloads speak on a port.
	ports  map[mesh.Name]map[uint16][]mesh.Protocol
	tables map[mesh.Name]*policy.Table
	out    map[leftOut]*tally
}

type leftOut struct {
	destination, source mesh.Name
	reason              string
}

// tally counts kinds of requests, requests, and those answered 404 or 405.
type tally struct{ kinds, requests, notFound uint64 }

func (t *tally) add(o tally) {
	t.kinds += o.kinds
	t.requests += o.requests
	t.notFound += o.notFound
}

func tallyOf(o observe.Observation) tally { return tally{1, o.Count, o.NotFound} }

func newSieve(s *mesh.Snapshot) *sieve {
	c := &sieve{
		mesh: s, ports: map[mesh.Name]map[uint16][]mesh.Protocol{},
		tables: map[mesh.Name]*policy.Table{}, out: map[leftOut]*tally{},
	}
	for _, w := range s.Workloads {
		if c.ports[w.ServiceAccount] == nil {
			c.ports[w.ServiceAccount] = map[uint16][]mesh.Protocol{}
		}
		of := c.ports[w.ServiceAccount]
		for _, p := range w.Ports {
			of[p.Port] = append(of[p.Port], p.Protocol)
		}
	}
	return c
}

// keeps reports whether o should be suggested; if not, it is counted.
func (c *sieve) keeps(o observe.Observation) bool {
	if reason := c.reason(o); reason != "" {
		c.drop(o.Destination, o.Source, reason, tallyOf(o))
		return false
	}
	return true
}

func (c *sieve) drop(destination, source mesh.Name, reason string, t tally) {
	k := leftOut{destination, source, reason}
	if c.out[k] == nil {
		c.out[k] = &tally{}
	}
	c.out[k].add(t)
}

// reason says why o is left out; empty if it is not.
func (c *sieve) reason(o observe.Observation) string {
	destination, ok := c.ports[o.Destination]
	if !ok {
		return "no workload runs as " + o.Destination.String() + " any more"
	}
	if _, ok := c.ports[o.Source]; !ok {
		return "no workload runs as " + o.Source.String() + " any more"
	}
	protocols := destination[o.Port]
	switch {
	case len(protocols) == 0:
		return fmt.Sprintf("port %d is not there any more", o.Port)
	case o.Opaque && !slices.ContainsFunc(protocols, mesh.Protocol.Opaque):
		return fmt.Sprintf("port %d is not opaque any more", o.Port)
	case o.Opaque && len(slices.DeleteFunc(slices.Clone(protocols), mesh.Protocol.Opaque)) > 0:
		// A TCPRoute alone would allow every request on it (smi-rules 24).
		return fmt.Sprintf("port %d is opaque at some workloads and HTTP at others", o.Port)
	case o.Opaque:
		return c.decided(o)
	case !slices.ContainsFunc(protocols, func(p mesh.Protocol) bool { return !p.Opaque() }):
		return fmt.Sprintf("port %d is not HTTP any more", o.Port)
	case !writable(o.Method):
		return fmt.Sprintf("a policy cannot name the method %q", o.Method)
	}
	return c.decided(o)
}

// decided asks the policy in force. Headers are not observed, so what it grants
// only with certain ones is left to the reader: without them it would be wider.
func (c *sieve) decided(o observe.Observation) string {
	table := c.tables[o.Destination]
	if table == nil {
		table = policy.Compile(c.mesh.Grants(o.Destination))
		c.tables[o.Destination] = table
	}
	peer := mesh.SPIFFEID(c.mesh.TrustDomain, o.Source)
	v := table.Decide(policy.Request{Peer: peer, Port: o.Port, Method: o.Method, Path: o.Path})
	if o.Opaque {
		v = table.DecideConnection(peer, o.Port)
	}
	switch {
	case v.Allow:
		return "the policy allows them already"
	case v.Reason == policy.ReasonHeader:
		return "the policy allows them with certain headers only, and headers are not observed"
	case v.Reason == policy.ReasonReject:
		return "the path has more than one reading"
	}
	return ""
}

// httpPorts lists the ports on which an account's workloads speak HTTP, sorted.
func (c *sieve) httpPorts(account mesh.Name) []uint16 {
	var out []uint16
	for port, protocols := range c.ports[account] {
		if slices.ContainsFunc(protocols, func(p mesh.Protocol) bool { return p != mesh.TCP }) {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}

// remarks tells what was left out, per pair of accounts and reason.
func (c *sieve) remarks() []Remark {
	var out []Remark
	for k, t := range c.out {
		out = append(out, Remark{LeftOut, k.destination, fmt.Sprintf("%s of %s from %s: %s.",
			mesh.Counted(t.requests, "call", "calls"), mesh.Counted(t.kinds, "kind", "kinds"), k.source, k.reason)})
	}
	slices.SortFunc(out, func(a, b Remark) int {
		return cmp.Or(a.Destination.Compare(b.Destination), strings.Compare(a.Text, b.Text))
	})
	return out
}

// writable keeps to methods as they are registered, such as GET and M-SEARCH.
// A star would not name a method but all of them (smi-rules 41).
func writable(method string) bool {
	for _, c := range []byte(method) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != ""
}
