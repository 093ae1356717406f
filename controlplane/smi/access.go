package smi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// maxMatches bounds what one sidecar is told: a thousand targets that share a
// thousand matches are a million, of a manifest that is small.
const maxMatches = 50_000

// access resolves all TrafficTargets into grants, by destination.
func (r *resolver) access() []mesh.Access {
	routes := routes{groups: r.routeGroups, tcp: r.tcpRoutes(), tcpNames: namesOf(r.objects.TCPRoutes)}
	granted := map[mesh.Name][]policy.Grant{}
	matches := map[mesh.Name]int{}
	for _, t := range r.objects.TrafficTargets {
		o := mesh.Object{Kind: KindTrafficTarget, Name: nameOf(t)}
		// All three are looked at even if one already grants nothing: whoever wrote
		// the object wants to hear of everything at once.
		destination, known := r.destination(o, t.Spec.Destination)
		sources := r.sources(o, t.Spec.Sources)
		grant := r.rules(o, t.Spec.Rules, routes)
		if !known || len(sources) == 0 || len(grant.Ports) == 0 || len(grant.Matches) == 0 && !grant.Connections {
			continue
		}
		if matches[destination]+len(grant.Matches) > maxMatches {
			r.inert(o, "spec.rules", fmt.Sprintf("older targets of ServiceAccount %q already have %d matches, and with this one's %d there would be more than %d; the target grants nothing.",
				destination.Name, matches[destination], len(grant.Matches), maxMatches), "Join matches into fewer patterns, or targets into fewer.")
			continue
		}
		matches[destination] += len(grant.Matches)
		grant.Name, grant.Sources = o.Name.String(), sources
		granted[destination] = append(granted[destination], grant)
	}
	out := make([]mesh.Access, 0, len(granted))
	for destination, grants := range granted {
		slices.SortFunc(grants, func(a, b policy.Grant) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, mesh.Access{ServiceAccount: destination, Grants: grants})
	}
	slices.SortFunc(out, func(a, b mesh.Access) int { return a.ServiceAccount.Compare(b.ServiceAccount) })
	return out
}

// destination resolves whom a target opens. It has to be in the target's own
// namespace (smi-rules 13, 14, 17): nobody opens somebody else's workloads.
func (r *resolver) destination(o mesh.Object, d access.IdentityBindingSubject) (mesh.Name, bool) {
	account := mesh.Name{Namespace: orDefault(d.Namespace, o.Name.Namespace), Name: d.Name}
	switch {
	case d.Kind != KindServiceAccount:
		r.inert(o, "spec.destination.kind", fmt.Sprintf("destination kind %q is not served; the whole target grants nothing.", d.Kind),
			"Use ServiceAccount.")
		r.rule(17)
	case account.Namespace != o.Name.Namespace:
		r.inert(o, "spec.destination.namespace",
			fmt.Sprintf("the destination is in namespace %s, and a target only opens service accounts of its own namespace; it is ignored.", account.Namespace),
			fmt.Sprintf("Move the TrafficTarget to namespace %s.", account.Namespace))
		r.rule(14)
	case !r.accounts[account]:
		r.inert(o, "spec.destination.name",
			fmt.Sprintf("ServiceAccount %q does not exist in namespace %s. The target grants nothing until it does.", account.Name, account.Namespace),
			r.tryName(account, r.accounts))
	default:
		return account, true
	}
	return mesh.Name{}, false
}

// sources returns the SPIFFE IDs of the sources that exist (smi-rules 10, 12,
// 16, 18). An ID whose service account is missing could still be on an old
// certificate, so it is not granted anything.
func (r *resolver) sources(o mesh.Object, sources []access.IdentityBindingSubject) []string {
	if len(sources) == 0 {
		r.inert(o, "spec.sources", "no source is listed, so the target grants nothing.", "List the service accounts that may call.")
		r.rule(16)
	}
	var out []string
	for i, s := range sources {
		field := fmt.Sprintf("spec.sources[%d]", i)
		account := mesh.Name{Namespace: orDefault(s.Namespace, o.Name.Namespace), Name: s.Name}
		switch {
		case s.Kind != KindServiceAccount:
			r.inert(o, field+".kind", fmt.Sprintf("source kind %q is not served; this source is granted nothing.", s.Kind), "Use ServiceAccount.")
			r.rule(18)
		case !r.accounts[account]:
			r.inert(o, field+".name",
				fmt.Sprintf("ServiceAccount %q does not exist in namespace %s. It is granted nothing until it does.", account.Name, account.Namespace),
				r.tryName(account, r.accounts))
		default:
			out = append(out, mesh.SPIFFEID(r.settings.TrustDomain, account))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// routes are what rules can refer to.
type routes struct {
	groups   map[mesh.Name]group
	tcp      map[mesh.Name][]policy.PortRange
	tcpNames map[mesh.Name]bool
}

// rules resolves what a target grants. TCPRoutes give the ports and
// HTTPRouteGroups the requests, and both must agree (smi-rules 23 to 28). A
// missing group only grants less; a missing TCPRoute, or a kind that is not
// known, may have been a restriction, so without it the target grants nothing
// (smi-rules 21, 22). The grant has no name and no sources yet.
func (r *resolver) rules(o mesh.Object, rules []access.TrafficTargetRule, routes routes) policy.Grant {
	if len(rules) == 0 {
		r.inert(o, "spec.rules", "no rule is listed, so the target grants nothing.", "Refer to an HTTPRouteGroup or a TCPRoute.")
		r.rule(16)
	}
	var ports []policy.PortRange
	var requests, connections []namedMatch
	hasGroup, hasTCP, resolved := false, false, true
	for i, rule := range rules {
		field := fmt.Sprintf("spec.rules[%d]", i)
		name := mesh.Name{Namespace: o.Name.Namespace, Name: rule.Name}
		switch rule.Kind {
		case KindHTTPRouteGroup:
			hasGroup = true
			requests = append(requests, r.requests(o, field, name, rule.Matches, routes)...)
		case KindTCPRoute:
			hasTCP = true
			ports = append(ports, routes.tcp[name]...)
			connections = append(connections, namedMatch{match: policy.Match{Name: rule.Name}})
			if _, ok := routes.tcp[name]; !ok {
				resolved = false
				r.inert(o, field+".name", fmt.Sprintf("TCPRoute %q does not exist in namespace %s. The whole target grants nothing until it does.",
					name.Name, name.Namespace), r.tryName(name, routes.tcpNames))
				r.rule(22)
			}
		case KindUDPRoute:
			r.inert(o, field+".kind", "UDPRoutes are not enforced; the rule grants nothing, the target's other rules work.", "Remove the rule.")
			r.rule(30)
		default:
			resolved = false
			r.inert(o, field+".kind", fmt.Sprintf("rule kind %q is unknown. It may be a restriction, so the whole target grants nothing.", rule.Kind),
				r.tryWord(rule.Kind, []string{KindHTTPRouteGroup, KindTCPRoute}, "Use HTTPRouteGroup or TCPRoute."))
		}
	}
	switch {
	case !resolved:
		return policy.Grant{}
	case !hasTCP:
		return policy.Grant{Ports: []policy.PortRange{policy.EveryPort()}, Matches: distinct(requests)}
	case !hasGroup:
		return policy.Grant{Ports: union(ports), Connections: true, Matches: distinct(connections)}
	}
	return policy.Grant{Ports: union(ports), Connections: true, Matches: distinct(requests)}
}

// requests returns the matches of a group that a rule selects: all of them
// where it names none (smi-rules 15, 19, 20, 21).
func (r *resolver) requests(o mesh.Object, field string, name mesh.Name, selected []string, routes routes) []namedMatch {
	g, ok := routes.groups[name]
	if !ok {
		r.inert(o, field+".name", fmt.Sprintf("HTTPRouteGroup %q does not exist in namespace %s. The rule grants nothing until it does.",
			name.Name, name.Namespace), r.tryName(name, r.groupNames))
		r.rule(21)
		return nil
	}
	for i, wanted := range selected {
		if wanted == "" || !slices.Contains(g.declared, wanted) {
			r.inert(o, fmt.Sprintf("%s.matches[%d]", field, i),
				fmt.Sprintf("HTTPRouteGroup %q has no match %q. It grants nothing until there is one; the other matches work.", name.Name, wanted),
				r.tryWord(wanted, g.declared, "Add it to the group, or correct the name."))
			r.rule(20)
		}
	}
	var out []namedMatch
	for _, m := range g.matches {
		if len(selected) == 0 || m.name != "" && slices.Contains(selected, m.name) {
			out = append(out, m)
		}
	}
	return out
}

// distinct sorts matches by name and drops those that two rules both select.
func distinct(matches []namedMatch) []policy.Match {
	slices.SortStableFunc(matches, func(a, b namedMatch) int {
		return cmp.Or(strings.Compare(a.match.Name, b.match.Name), cmp.Compare(a.place, b.place))
	})
	var out []policy.Match
	for i, m := range matches {
		if i == 0 || m.match.Name != matches[i-1].match.Name || m.place != matches[i-1].place {
			out = append(out, m.match)
		}
	}
	return out
}
