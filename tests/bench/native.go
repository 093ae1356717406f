package main

import (
	"fmt"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	sslv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// principalHeader carries the principal where there is no certificate: it is the
// cheapest form in which native RBAC can be asked for one.
const principalHeader = "x-principal"

// permission is the method and the path.
func permission() *rbacconfigv3.Permission {
	method := &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_Header{Header: headerIs(":method", grantedMethod)}}
	path := &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{
		Rule: &matcherv3.PathMatcher_Path{Path: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: grantedPath}},
		}},
	}}}
	return &rbacconfigv3.Permission{Rule: &rbacconfigv3.Permission_AndRules{AndRules: &rbacconfigv3.Permission_Set{
		Rules: []*rbacconfigv3.Permission{method, path},
	}}}
}

func headerIs(name, value string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exactly(value)},
	}
}

func principal(w wire, id string) *rbacconfigv3.Principal {
	if w == plaintext {
		return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_Header{Header: headerIs(principalHeader, id)}}
	}
	return &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_Authenticated_{
		Authenticated: &rbacconfigv3.Principal_Authenticated{PrincipalName: exactly(id)},
	}}
}

// rbacList says the grant as RBAC's policy list does: one policy, its
// permissions tried once, its principals one after the other.
func rbacList(w wire, ids []string) *rbacv3.RBAC {
	policy := &rbacconfigv3.Policy{Permissions: []*rbacconfigv3.Permission{permission()}}
	for _, id := range ids {
		policy.Principals = append(policy.Principals, principal(w, id))
	}
	return allowing(map[string]*rbacconfigv3.Policy{grantName: policy})
}

// rbacEach says it with a policy for each principal. They are tried in the order
// of their names.
func rbacEach(w wire, ids []string) *rbacv3.RBAC {
	policies := map[string]*rbacconfigv3.Policy{}
	for i, id := range ids {
		policies[fmt.Sprintf("%s-%05d", grantName, i)] = &rbacconfigv3.Policy{
			Permissions: []*rbacconfigv3.Permission{permission()}, Principals: []*rbacconfigv3.Principal{principal(w, id)},
		}
	}
	return allowing(policies)
}

func allowing(policies map[string]*rbacconfigv3.Policy) *rbacv3.RBAC {
	return &rbacv3.RBAC{Rules: &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_ALLOW, Policies: policies}}
}

func exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

// rbacTree says the grant as a matcher: method and path first, as they are the
// same for all, then the principal in one map.
func rbacTree(w wire, ids []string) (*anypb.Any, error) {
	var p packer
	allow := &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: p.extension("allow", &rbacconfigv3.Action{Name: grantName, Action: rbacconfigv3.RBAC_ALLOW}),
	}}
	byPrincipal := map[string]*xdsmatcherv3.Matcher_OnMatch{}
	for _, id := range ids {
		byPrincipal[id] = allow
	}
	input := p.extension("principal", &sslv3.UriSanInput{})
	if w == plaintext {
		input = p.extension("principal", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: principalHeader})
	}
	principal := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
		Input: input,
		TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{
			ExactMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: byPrincipal},
		},
	}}}
	method := p.header(":method", &xdsmatcherv3.StringMatcher{
		MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: grantedMethod},
	})
	// This input has the query, which the grant does not speak of.
	path := p.header(":path", &xdsmatcherv3.StringMatcher{
		MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
			EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
			Regex:      grantedPath + `(\?.*)?`,
		}},
	})
	both := &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
			AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{
				Predicate: []*xdsmatcherv3.Matcher_MatcherList_Predicate{method, path},
			},
		},
	}
	tree := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
		Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
			Predicate: both,
			OnMatch:   &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: principal}},
		}},
	}}}
	config := p.pack(&rbacv3.RBAC{Matcher: tree})
	return config, p.err
}

// packer wraps messages and keeps the first error.
type packer struct{ err error }

func (p *packer) pack(m proto.Message) *anypb.Any {
	config, err := anypb.New(m)
	if p.err == nil {
		p.err = err
	}
	return config
}

func (p *packer) extension(name string, m proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: p.pack(m)}
}

// header is the predicate that a request header has a value.
func (p *packer) header(name string, value *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input:   p.extension(name, &matcherv3.HttpRequestHeaderMatchInput{HeaderName: name}),
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
			},
		},
	}
}
