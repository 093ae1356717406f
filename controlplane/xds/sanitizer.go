package xds

import (
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// sanitizer takes off a granted request what an application may take for more
// than a caller's word. Of x-envoy-* the connection manager drops only what it
// acts on itself. Trailers come after the policy has judged, and some
// applications add them to the headers; HTTP/1 does not send them on anyway.
func sanitizer() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "envoy.filters.http.header_mutation",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&mutationv3.HeaderMutation{
			Mutations: &mutationv3.Mutations{
				RequestMutations: []*mutationrulesv3.HeaderMutation{removal(&matcherv3.StringMatcher{
					MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "x-envoy-"},
				})},
				RequestTrailersMutations: []*mutationrulesv3.HeaderMutation{removal(&matcherv3.StringMatcher{
					MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".*"}},
				})},
			},
		})},
	}
}

func removal(names *matcherv3.StringMatcher) *mutationrulesv3.HeaderMutation {
	return &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationrulesv3.HeaderMutation_RemoveOnMatch{KeyMatcher: names},
	}}
}
