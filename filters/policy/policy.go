// Package policy decides whether one request may pass.
//
// A Table holds everything granted at one destination; Decide answers a
// request from it and names the rule, Explain tells for every rule why. The
// same code runs in the filter, in the control plane's checks, in the command
// line and in the tests, so it imports nothing that a Wasm module should not
// carry: no I/O, no clock, no regexp, no fmt, no encoding/json. It never
// widens: what it cannot read, it denies.
package policy

import "github.com/wasmesh/wasmesh/filters/automaton"

// Grant is what one TrafficTarget allows at its destination, with every
// reference resolved. A request passes a grant when its source, its port and
// one of the matches agree (smi-rules 3).
type Grant struct {
	// Name is the TrafficTarget's "namespace/name"; a verdict names it.
	Name string
	// Sources are SPIFFE IDs.
	Sources []string
	// Ports are the container ports granted. No port at all grants nothing.
	Ports []PortRange
	// Connections says that the ports are those of TCPRoutes: connections to an
	// opaque port among them pass too, whatever the matches (smi-rules 24 to 26).
	Connections bool
	// Matches are alternatives for requests. No match at all grants no request; a
	// match without conditions grants any.
	Matches []Match
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// EveryPort is what a target without TCPRoute and a TCPRoute without ports mean
// (smi-rules 25, 27).
func EveryPort() PortRange { return PortRange{0, 65535} }

// Match is one entry of an HTTPRouteGroup: all its conditions must hold
// (smi-rules 45).
type Match struct {
	// Name is "group/match", or the TCPRoute's name for a match that grants any
	// request.
	Name string
	// Path must match; nil is any path (smi-rules 40).
	Path *automaton.Automaton
	// Methods lists those granted, upper case; none is any (smi-rules 41, 42).
	Methods []string
	// Headers must all match (smi-rules 43).
	Headers []HeaderMatch
}

// HeaderMatch is one header condition.
type HeaderMatch struct {
	// Name is lower case; "host" means the authority (smi-rules 47).
	Name string
	// Value must match every value the request carries under that name.
	Value *automaton.Automaton
}

// Request is what a decision looks at.
type Request struct {
	// Peer is the SPIFFE ID of the caller's certificate; empty if it has none.
	Peer string
	// Port is the container port the request arrived for.
	Port   uint16
	Method string
	// Path is the :path as received, query included.
	Path string
	// Headers are all of the request's, names in lower case, pseudo headers
	// included, duplicates kept.
	Headers []Header
}

// Header is one header line.
type Header struct{ Name, Value string }

// Reason names the first clause that kept a request from passing.
type Reason string

// The reasons, in the order in which the clauses are looked at. A denial
// carries the furthest that any grant came.
const (
	ReasonNone   Reason = ""
	ReasonSource Reason = "source" // nothing here is granted to this identity
	ReasonPort   Reason = "port"   // something is, but not on this port
	ReasonPath   Reason = "path"   // on this port, but not this path
	ReasonMethod Reason = "method" // this path, but not by this method
	ReasonHeader Reason = "header" // this path and method, with other headers
	ReasonPolicy Reason = "policy" // nothing is granted to anyone
	ReasonReject Reason = "reject" // the path cannot be read in one way only
	// The table knows nothing of these two; the access stages add them.
	ReasonExpired Reason = "expired" // the certificate of the open connection ended
	ReasonPanic   Reason = "panic"   // the stage itself failed, and so denied
)

// Verdict is the answer to a request.
type Verdict struct {
	Allow bool
	// Rule is the TrafficTarget that allowed it, as "namespace/name".
	Rule string
	// Reason is why it is denied or, where it is allowed nevertheless, why it
	// would be; see Mode.InForce.
	Reason Reason
}
