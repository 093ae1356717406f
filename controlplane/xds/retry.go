package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// unreached is the header by which a destination's sidecar tells the caller's
	// that no application got the request. Neither application ever sees it: the
	// one sidecar takes it from what its application says, the other from the answer.
	unreached = "x-wasmesh-unreached"
	// unseen are the failures, as the caller's sidecar sees them, before which
	// nobody has got a byte of the request.
	unseen = "connect-failure,refused-stream,reset-before-request,retriable-headers"
	// again is how often a request is tried at another endpoint.
	again = 2
	// draws is how often an endpoint is drawn, if it was tried already: of three that
	// two were tried, one was not found with a chance of 1 in 600,000.
	draws = 32
	// heldBody is the largest body, in bytes, that is kept to be sent once more.
	heldBody = 64 << 10
	// retriesPercent of the requests that are open to a destination, and some at
	// least, may be such attempts: they must not be what brings it down.
	retriesPercent, retriesAtLeast = 20, 10
)

// elsewhere has the caller's sidecar try a request that reached no application at
// another endpoint. What an application may have seen is never sent again.
func elsewhere() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:    unseen,
		NumRetries: wrapperspb.UInt32(again),
		RetriableHeaders: []*routev3.HeaderMatcher{{
			Name:                 unreached,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
		}},
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: pack(&previousv3.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: draws,
	}
}

// retryBudget bounds the attempts that elsewhere makes at the same time.
func retryBudget() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		RetryBudget: &clusterv3.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typev3.Percent{Value: retriesPercent},
			MinRetryConcurrency: wrapperspb.UInt32(retriesAtLeast),
		},
	}}}
}

// tellUnreached has a destination's sidecar say that it could not connect to its
// application.
func tellUnreached() *hcmv3.ResponseMapper {
	return &hcmv3.ResponseMapper{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
			ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{"UF"}},
		}},
		HeadersToAdd: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: unreached, Value: "1"},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}
}
