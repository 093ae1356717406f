// Package reference reads SMI objects to the letter and answers requests from
// them, slowly and with loops a person can follow.
//
// It is what the product is compared with, so it must never import anything of
// filters or controlplane/smi, nor be used by the product. Numbers in comments
// are the numbers of smi-rules.
package reference

import (
	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
)

// Account is a service account.
type Account struct{ Namespace, Name string }

// Objects are what there is to read.
type Objects struct {
	TrustDomain string
	// PathFull: a pathRegex describes the whole path (36).
	PathFull bool
	Accounts []Account
	Targets  []*access.TrafficTarget
	Groups   []*specs.HTTPRouteGroup
	Routes   []*specs.TCPRoute
}

// Grant is what one TrafficTarget comes down to.
type Grant struct {
	// Name is the target's "namespace/name".
	Name    string
	To      Account
	Sources []string
	// EveryPort, else those of Ports.
	EveryPort bool
	Ports     []int
	// Matches are alternatives for requests.
	Matches []Match
	// Connections says whether opaque ports are opened, too (24 to 26).
	Connections bool
}

// Policy is the objects with all references followed.
type Policy struct{ Grants []Grant }

// Read follows every reference (3: what leads nowhere grants nothing).
func Read(o Objects) *Policy {
	var p Policy
	for _, target := range o.Targets {
		if grant, ok := o.grant(target); ok {
			p.Grants = append(p.Grants, grant)
		}
	}
	return &p
}

func (o Objects) grant(target *access.TrafficTarget) (Grant, bool) {
	g := Grant{Name: target.Namespace + "/" + target.Name}
	to := target.Spec.Destination
	switch {
	case to.Kind != "ServiceAccount": // 17
		return g, false
	case to.Namespace != "" && to.Namespace != target.Namespace: // 14
		return g, false
	case !o.exists(Account{target.Namespace, to.Name}): // 13
		return g, false
	}
	g.To = Account{target.Namespace, to.Name}
	for _, source := range target.Spec.Sources {
		from := Account{source.Namespace, source.Name}
		if from.Namespace == "" { // 12
			from.Namespace = target.Namespace
		}
		if source.Kind == "ServiceAccount" && o.exists(from) { // 18
			g.Sources = append(g.Sources, "spiffe://"+o.TrustDomain+"/ns/"+from.Namespace+"/sa/"+from.Name)
		}
	}
	return g, o.rules(target, &g) && len(g.Sources) > 0 // 16
}

// rules reads a target's rules; false if they grant nothing at all.
func (o Objects) rules(target *access.TrafficTarget, g *Grant) bool {
	groups, routes := 0, 0
	for _, rule := range target.Spec.Rules {
		switch rule.Kind {
		case "HTTPRouteGroup":
			groups++
			g.Matches = append(g.Matches, o.selected(target.Namespace, rule)...) // 15, 21
		case "TCPRoute":
			routes++
			route := o.route(target.Namespace, rule.Name)
			if route == nil { // 22
				return false
			}
			if len(route.Spec.Matches.Ports) == 0 { // 27
				g.EveryPort = true
			}
			for _, port := range route.Spec.Matches.Ports { // 28
				if port >= 1 && port <= 65535 {
					g.Ports = append(g.Ports, port)
				}
			}
		case "UDPRoute": // 30, 31
		default: // an unknown kind may be a restriction, as in 22
			return false
		}
	}
	if routes > 0 && groups == 0 { // 24
		g.Matches = []Match{{}}
	}
	if routes == 0 { // 25
		g.EveryPort = true
	}
	g.Connections = routes > 0
	return g.EveryPort || len(g.Ports) > 0
}

func (o Objects) exists(a Account) bool {
	for _, other := range o.Accounts {
		if other == a {
			return true
		}
	}
	return false
}

func (o Objects) route(namespace, name string) *specs.TCPRoute {
	for _, route := range o.Routes {
		if route.Namespace == namespace && route.Name == name {
			return route
		}
	}
	return nil
}
