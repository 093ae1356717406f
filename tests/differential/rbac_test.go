package differential

import (
	"maps"
	"slices"
	"strings"

	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/differential/reference"
)

// peerHeader stands for the certificate, which one connection has one of.
const peerHeader = "x-fuzz-peer"

// rbac says what is granted to an account as Envoy's own filter would: one
// policy for each target. ports gives the listener's port for a container port.
func rbac(grants []reference.Grant, to mesh.Name, full bool, ports map[int]uint32) *rbacconfigv3.RBAC {
	out := &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_ALLOW, Policies: map[string]*rbacconfigv3.Policy{}}
	for _, g := range grants {
		if g.To != (reference.Account{Namespace: to.Namespace, Name: to.Name}) {
			continue
		}
		var at, matches []*rbacconfigv3.Permission
		for _, p := range g.Ports {
			if listening, ok := ports[p]; ok {
				at = append(at, &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_DestinationPort{DestinationPort: listening}})
			}
		}
		if g.EveryPort {
			at = append(at, anything())
		}
		for _, m := range g.Matches {
			matches = append(matches, permission(m, full))
		}
		if len(at) == 0 || len(matches) == 0 {
			continue
		}
		policy := &rbacconfigv3.Policy{Permissions: []*rbacconfigv3.Permission{both(either(at...), either(matches...))}}
		for _, source := range g.Sources {
			policy.Principals = append(policy.Principals, &rbacconfigv3.Principal{
				Identifier: &rbacconfigv3.Principal_Header{Header: header(peerHeader, exactly(source))},
			})
		}
		out.Policies[g.Name] = policy
	}
	return out
}

// permission is one match of a group.
func permission(m reference.Match, full bool) *rbacconfigv3.Permission {
	all := []*rbacconfigv3.Permission{anything()}
	if m.Path != "" {
		// Envoy matches the whole path, without the query.
		expr := "(?:" + m.Path + ")"
		if !full {
			expr += "(?s:.*)"
		}
		all = append(all, &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_UrlPath{
			UrlPath: &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: described(expr)}},
		}})
	}
	var methods []*rbacconfigv3.Permission
	for _, method := range m.Methods {
		methods = append(methods, withHeader(":method", exactly(method)))
	}
	if len(methods) > 0 {
		all = append(all, either(methods...))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		expr := m.Headers[name]
		if name = strings.ToLower(name); name == "host" {
			name = ":authority"
		}
		all = append(all, withHeader(name, described("(?:"+expr+")")))
	}
	return both(all...)
}

func anything() *rbacconfigv3.Permission {
	return &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_Any{Any: true}}
}

func both(all ...*rbacconfigv3.Permission) *rbacconfigv3.Permission {
	return &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_AndRules{AndRules: &rbacconfigv3.Permission_Set{Rules: all}}}
}

func either(some ...*rbacconfigv3.Permission) *rbacconfigv3.Permission {
	return &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_OrRules{OrRules: &rbacconfigv3.Permission_Set{Rules: some}}}
}

func withHeader(name string, value *matcherv3.StringMatcher) *rbacconfigv3.Permission {
	return &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_Header{Header: header(name, value)}}
}

func header(name string, value *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value}}
}

func exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

// described is a text that an expression describes from end to end.
func described(expr string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: expr}}}
}
