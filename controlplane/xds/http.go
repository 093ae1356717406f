package xds

import (
	"net/netip"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	connectTimeout = 5 * time.Second
	// filterFetchTimeout bounds how long a listener stays closed for want of a
	// module before it opens and denies.
	filterFetchTimeout = 3 * time.Second
	// reloadInterval is the back-off after a trap; docs/adr/0005.
	reloadInterval = 100 * time.Millisecond
	// headersTimeout ends callers that never finish their headers.
	headersTimeout = 30 * time.Second
	// idleTimeout ends streams and connections on which nothing moves, such as
	// those whose other end is gone without a word.
	idleTimeout = time.Hour
)

// connectionManager holds the settings that both directions share: what
// policy.Normalize says about paths, said to Envoy.
func connectionManager(name string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   name,
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		StripPortMode:                &hcmv3.HttpConnectionManager_StripAnyHostPort{StripAnyHostPort: true},
		StripTrailingHostDot:         true,
		// Nobody is internal: what a caller sends as x-envoy-* is dropped.
		UseRemoteAddress: wrapperspb.Bool(true),
		SkipXffAppend:    true,
		InternalAddressConfig: &hcmv3.HttpConnectionManager_InternalAddressConfig{
			CidrRanges: []*corev3.CidrRange{{AddressPrefix: "::", PrefixLen: wrapperspb.UInt32(128)}},
		},
		ForwardClientCertDetails:   hcmv3.HttpConnectionManager_SANITIZE,
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		RequestHeadersTimeout:      durationpb.New(headersTimeout),
		StreamIdleTimeout:          durationpb.New(idleTimeout),
		UpgradeConfigs:             []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		LocalReplyConfig:           refuseUnrouted(),
		// One id from the caller's sidecar to the application and back: what a
		// denied caller can show to an operator.
		PreserveExternalRequestId:    true,
		AlwaysSetRequestIdInResponse: true,
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			// Some applications read a_b and a-b as one header.
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
		},
	}
}

func routerFilter() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "envoy.filters.http.router",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&routerv3.Router{
			SuppressEnvoyHeaders: true,
		})},
	}
}

// routeConfiguration sends every path to one action, whatever the authority:
// the listener is the service.
func routeConfiguration(name string, action *routev3.RouteAction) *routev3.RouteConfiguration {
	return alwaysRouted(name, &routev3.Route{Action: &routev3.Route_Route{Route: action}})
}

// alwaysRouted gives a route every request.
func alwaysRouted(name string, route *routev3.Route) *routev3.RouteConfiguration {
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	return &routev3.RouteConfiguration{
		Name:         name,
		VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{route}}},
		// The application need not learn where in the mesh a request came from.
		RequestHeadersToRemove: []string{"x-envoy-external-address"},
	}
}

// refuseUnrouted answers 400 where Envoy itself would say 404: to what has no
// path, OPTIONS * and CONNECT, of which no policy can speak. An application's
// own 404 is not touched.
func refuseUnrouted() *hcmv3.LocalReplyConfig {
	return &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
			StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
				Op:    accesslogv3.ComparisonFilter_EQ,
				Value: &corev3.RuntimeUInt32{DefaultValue: 404, RuntimeKey: "wasmesh.unrouted"},
			}},
		}},
		StatusCode: wrapperspb.UInt32(400),
	}}}
}

// protocolOptions says how a cluster speaks HTTP. longest bounds the age of a
// connection; 0 does not.
func protocolOptions(p mesh.Protocol, longest time.Duration) map[string]*anypb.Any {
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	if p == mesh.HTTP2 {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{AllowConnect: true},
		}
	} else {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	}
	options := &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}
	if longest > 0 {
		options.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
			MaxConnectionDuration: durationpb.New(longest),
		}
	}
	return map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(options),
	}
}

func fromControlPlane() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

func address(ip netip.Addr, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       ip.String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}
