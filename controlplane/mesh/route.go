package mesh

import (
	"strings"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// Route is where a caller's sidecar sends one request.
type Route struct {
	// Split is the TrafficSplit that applies; the zero Name is none, and then the
	// service's own endpoints are the only share.
	Split Name
	// Match is the condition of the split that the request met, empty if the
	// split has none.
	Match string
	// Shares are relative weights.
	Shares []Backend
}

// Route decides which split applies to a request for a port of a service. It
// says what the proxies' native routes do; access is another question, asked
// where the request arrives (smi-rules 80). False: the request's path has no
// single reading, and the request is answered 400 instead of routed.
func (s *Snapshot) Route(root Name, port uint16, r policy.Request) (Route, bool) {
	path, ok := policy.Normalize(r.Path)
	if !ok {
		return Route{}, false
	}
	r.Headers = joined(r.Headers)
	for _, split := range s.SplitsAt(root, port) {
		if !split.Conditional {
			return Route{Split: split.Name, Shares: split.Backends}, true
		}
		for _, c := range split.Conditions {
			if c.met(path, r) {
				return Route{Split: split.Name, Match: c.Match.Name, Shares: split.Backends}, true
			}
		}
	}
	return Route{Shares: []Backend{{Service: root, Weight: 1}}}, true
}

// RouteConnection decides which split applies to a connection to an opaque port:
// one without conditions, as there is nothing to match (smi-rules 79).
func (s *Snapshot) RouteConnection(root Name, port uint16) Route {
	for _, split := range s.SplitsAt(root, port) {
		return Route{Split: split.Name, Shares: split.Backends}
	}
	return Route{Shares: []Backend{{Service: root, Weight: 1}}}
}

// met asks the policy whether the request meets the condition. The path is
// read as it stands: what some applications make of a semicolon matters to
// access, where both readings must be granted, but not to routing.
func (c Condition) met(path policy.Path, r policy.Request) bool {
	if c.Match.Path != nil && !c.Match.Path.Match(path.Literal) {
		return false
	}
	const anyone = "anyone"
	match := c.Match
	match.Path = nil
	r.Peer, r.Port, r.Path = anyone, 0, "/"
	return policy.Compile([]policy.Grant{{
		Sources: []string{anyone}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{match},
	}}).Decide(r).Allow
}

// joined makes one line of those that share a name, as proxies do before they
// compare.
func joined(headers []policy.Header) []policy.Header {
	var out []policy.Header
	at := map[string]int{}
	for _, h := range headers {
		h.Value = strings.Trim(h.Value, " \t")
		if i, seen := at[h.Name]; seen {
			out[i].Value += "," + h.Value
			continue
		}
		at[h.Name] = len(out)
		out = append(out, h)
	}
	return out
}
