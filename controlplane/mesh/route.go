package mesh

import (
	"slices"
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

// joined makes one line of the headers that a proxy keeps once.
func joined(headers []policy.Header) []policy.Header {
	var out []policy.Header
	at := map[string]int{}
	for _, h := range headers {
		h.Value = strings.Trim(h.Value, " \t")
		if i, seen := at[h.Name]; seen && keptOnce(h.Name) {
			out[i].Value += "," + h.Value
			continue
		}
		at[h.Name] = len(out)
		out = append(out, h)
	}
	return out
}

// keptOnce lists the headers of which a proxy makes one line, values joined by
// commas, when a request repeats them. Measured; tests/splits compares.
func keptOnce(name string) bool {
	switch name {
	case "accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization",
		"cache-control", "cdn-loop", "content-encoding", "content-type", "expect", "grpc-accept-encoding", "grpc-timeout",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma", "referer",
		"user-agent", "via", "x-client-trace-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-request-id":
		return true
	}
	return false
}
