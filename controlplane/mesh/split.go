package mesh

import (
	"slices"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// Split spreads the requests to a root service over its backends by weight
// (smi-rules 54 to 58). Backends with weight 0 are kept: they get nothing.
type Split struct {
	Name Name
	Root Name
	// Conditional: only requests that meet one of the conditions are split. With
	// none of them usable no request is (smi-rules 77).
	Conditional bool
	Conditions  []Condition
	Backends    []Backend
}

// Backend is one share of a split. Weights are relative.
type Backend struct {
	Service Name
	Weight  uint32
}

// Condition is one match of an HTTPRouteGroup in the two forms that mean the
// same: one to decide by, one to hand to a proxy's own matcher.
type Condition struct {
	Match policy.Match
	// Path describes the whole path, without query; empty is any path. This and
	// the headers' values are in RE2 over bytes (Latin-1).
	Path string
	// Headers are those of Match, in that order.
	Headers []HeaderCondition
}

// HeaderCondition is the text of one header condition. Value describes a whole
// value.
type HeaderCondition struct{ Name, Value string }

// SplitsAt returns the splits of a root as they apply on one of its ports, in
// the order in which they are tried: those with conditions, oldest first, then
// the one without (smi-rules 78). Their backends are those that serve the port
// (smi-rules 65, 66); a split of which nothing is left does not apply. What
// passes an opaque port has no path, method or header, so a condition is never
// met there (smi-rules 79).
func (s *Snapshot) SplitsAt(root Name, port uint16) []Split {
	service, _ := s.Service(root)
	at, ok := service.Port(port)
	if !ok {
		return nil
	}
	var conditional, rest []Split
	for _, split := range s.Splits {
		if split.Root != root || split.Conditional && at.Protocol.Opaque() {
			continue
		}
		split.Backends = s.serving(split.Backends, at)
		if !slices.ContainsFunc(split.Backends, func(b Backend) bool { return b.Weight > 0 }) {
			continue
		}
		if split.Conditional {
			conditional = append(conditional, split)
		} else {
			rest = append(rest, split)
		}
	}
	return append(conditional, rest...)
}

// serving returns the backends that have the root's port.
func (s *Snapshot) serving(backends []Backend, root ServicePort) []Backend {
	var out []Backend
	for _, b := range backends {
		service, _ := s.Service(b.Service)
		if port, ok := service.Port(root.Port); ok && port.Serves(root) {
			out = append(out, b)
		}
	}
	return out
}

// Serves says whether requests to a root's port can go to p: it has the same
// number, and both are HTTP or both opaque.
func (p ServicePort) Serves(root ServicePort) bool {
	return p.Port == root.Port && p.Protocol.Opaque() == root.Protocol.Opaque()
}

// Port returns the port of that number.
func (s Service) Port(n uint16) (ServicePort, bool) {
	for _, p := range s.Ports {
		if p.Port == n {
			return p, true
		}
	}
	return ServicePort{}, false
}

// SplitOf returns the split without conditions whose root is the service, if
// there is one.
func (s *Snapshot) SplitOf(root Name) (Split, bool) {
	for _, split := range s.Splits {
		if split.Root == root && !split.Conditional {
			return split, true
		}
	}
	return Split{}, false
}
