package mesh

import (
	"slices"

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
	r.Headers = asRouted(r.Headers)
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

// met asks the policy whether the request meets the condition, clause by clause,
// as a proxy's routes read two things otherwise than access does. A path is read
// as it stands: what some applications make of a semicolon matters to access,
// where both readings must be granted. And of several values under one name one
// has to match, where access wants all of them to.
func (c Condition) met(path policy.Path, r policy.Request) bool {
	if c.Match.Path != nil && !c.Match.Path.Match(path.Literal) {
		return false
	}
	if !agrees(policy.Match{Methods: c.Match.Methods}, r.Method, nil) {
		return false
	}
	for _, h := range c.Match.Headers {
		alone := policy.Match{Headers: []policy.HeaderMatch{h}}
		if !slices.ContainsFunc(r.Headers, func(line policy.Header) bool { return agrees(alone, r.Method, []policy.Header{line}) }) {
			return false
		}
	}
	return true
}

// agrees asks the policy about one clause.
func agrees(m policy.Match, method string, headers []policy.Header) bool {
	const anyone = "anyone"
	return policy.Compile([]policy.Grant{{
		Sources: []string{anyone}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{m},
	}}).Decide(policy.Request{Peer: anyone, Method: method, Path: "/", Headers: headers}).Allow
}

// asRouted reads headers as a caller's sidecar does when it looks for a route:
// its application speaks HTTP/1 to it, where several cookie lines stay apart.
func asRouted(headers []policy.Header) []policy.Header {
	var cookies, others []policy.Header
	for _, h := range headers {
		if h.Name == "cookie" {
			cookies = append(cookies, h)
		} else {
			others = append(others, h)
		}
	}
	return append(policy.Join(others), cookies...)
}
