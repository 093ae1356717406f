package smi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/automaton"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// group is a resolved HTTPRouteGroup. A name that is declared but has no usable
// match grants nothing.
type group struct {
	declared []string
	matches  []namedMatch
}

type namedMatch struct {
	name  string
	match policy.Match
	spec  specs.HTTPMatch
	// place is the index in the group: a match without a name is called after it,
	// and another may have just that name.
	place int
}

// groups compiles every HTTPRouteGroup, whether something refers to it or not:
// its author wants to hear of a bad pattern at once.
func (r *resolver) groups() map[mesh.Name]group {
	out := make(map[mesh.Name]group, len(r.objects.HTTPRouteGroups))
	for _, g := range r.objects.HTTPRouteGroups {
		o := mesh.Object{Kind: KindHTTPRouteGroup, Name: nameOf(g)}
		out[o.Name] = r.group(o, g.Spec.Matches)
	}
	return out
}

// group compiles the matches of one group. Of two with one name the last counts
// (smi-rules 51).
func (r *resolver) group(o mesh.Object, matches []specs.HTTPMatch) group {
	last := map[string]int{}
	for i, m := range matches {
		last[m.Name] = i
	}
	var out group
	for i, m := range matches {
		field := fmt.Sprintf("spec.matches[%d]", i)
		if m.Name != "" {
			if last[m.Name] != i {
				r.inert(o, field+".name", fmt.Sprintf("a later match is also named %q; only the last of that name counts.", m.Name),
					"Rename one of the two.")
				r.rule(51)
				continue
			}
			out.declared = append(out.declared, m.Name)
		}
		before := r.breaks
		match := r.match(o, field, m)
		match.Name = o.Name.Name + "/" + orDefault(m.Name, fmt.Sprintf("matches[%d]", i))
		if r.breaks == before {
			out.matches = append(out.matches, namedMatch{m.Name, match, m, i})
		}
	}
	return out
}

// match compiles one match; what it returns is unusable if it reported.
func (r *resolver) match(o mesh.Object, field string, m specs.HTTPMatch) policy.Match {
	var out policy.Match
	if m.PathRegex != "" {
		out.Path = r.compile(o, field+".pathRegex", expression{text: m.PathRegex, path: true})
	}
	out.Methods = r.methods(o, field, m.Methods)
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		where := fmt.Sprintf("%s.headers[%s]", field, name)
		if !isToken(name) {
			r.broken(o, where, fmt.Sprintf("%q is not a header name; the match grants nothing until then.", name), "Write it like x-version.")
			continue
		}
		if strings.Contains(name, "_") {
			r.broken(o, where, fmt.Sprintf("header %q has an underscore, and sidecars refuse requests with such a header; the match grants nothing until then.", name),
				fmt.Sprintf("Use a name like %s.", strings.ReplaceAll(name, "_", "-")))
			continue
		}
		value := r.compile(o, where, expression{text: m.Headers[name]})
		out.Headers = append(out.Headers, policy.HeaderMatch{Name: strings.ToLower(name), Value: value})
	}
	return out
}

func (r *resolver) compile(o mesh.Object, field string, e expression) *automaton.Automaton {
	c := r.patterns.compile(e, r.settings)
	if c.err != nil {
		// The error ends with what to try.
		r.broken(o, field, c.err.Error()+". The match grants nothing until then.", "")
		r.rule(39)
	}
	return c.automaton
}

// methods returns the methods granted, none for any (smi-rules 41, 42).
func (r *resolver) methods(o mesh.Object, field string, methods []string) []string {
	if slices.Contains(methods, string(specs.HTTPRouteMethodAll)) {
		return nil
	}
	for i, m := range methods {
		where := fmt.Sprintf("%s.methods[%d]", field, i)
		switch {
		case !isToken(m):
			r.broken(o, where, fmt.Sprintf("%q is not a method; the match grants nothing until then.", m), "Write one like GET, or * for any.")
		case m != strings.ToUpper(m):
			r.broken(o, where, fmt.Sprintf("method %q is not in upper case, as methods are; the match grants nothing until then.", m),
				fmt.Sprintf("Write %s.", strings.ToUpper(m)))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(methods)))
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		letterOrDigit := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letterOrDigit && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// tcpRoutes returns the ports that each TCPRoute grants; no ports at all are
// every port (smi-rules 27), but ports that are all invalid are none.
func (r *resolver) tcpRoutes() map[mesh.Name][]policy.PortRange {
	out := make(map[mesh.Name][]policy.PortRange, len(r.objects.TCPRoutes))
	for _, route := range r.objects.TCPRoutes {
		o := mesh.Object{Kind: KindTCPRoute, Name: nameOf(route)}
		var ports []policy.PortRange
		if len(route.Spec.Matches.Ports) == 0 {
			ports = []policy.PortRange{policy.EveryPort()}
		}
		for i, p := range route.Spec.Matches.Ports {
			if !validPort(p) {
				r.broken(o, fmt.Sprintf("spec.matches.ports[%d]", i), fmt.Sprintf("%d is not a port; it grants nothing.", p),
					"Use a number from 1 to 65535.")
				continue
			}
			ports = append(ports, policy.PortRange{First: uint16(p), Last: uint16(p)})
		}
		out[o.Name] = ports
	}
	return out
}

// union sorts ranges and joins those that touch.
func union(ranges []policy.PortRange) []policy.PortRange {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b policy.PortRange) int { return int(a.First) - int(b.First) })
	var out []policy.PortRange
	for _, next := range sorted {
		if n := len(out); n > 0 && int(next.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, next.Last)
			continue
		}
		out = append(out, next)
	}
	return out
}
