package xds

import (
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// inbound makes, for each port of the workload, a listener that speaks mutual
// TLS with other sidecars and hands what the policy allows to the application.
func (b *builder) inbound() {
	for _, port := range b.workload.Ports {
		name := "inbound|" + strconv.Itoa(int(port.Port))
		b.out.add(ListenerType, name, b.inboundListener(port, name))
		b.out.add(ClusterType, name, b.application(port, name))
	}
	if len(b.workload.Ports) > 0 && b.settings.Module != "" {
		b.out.add(FilterType, accessFilter, b.accessConfig())
		b.out.add(FilterType, lifetimeFilter, b.lifetimeConfig())
	}
}

func (b *builder) inboundListener(port mesh.WorkloadPort, name string) *listenerv3.Listener {
	manager := connectionManager(name)
	manager.CodecType = hcmv3.HttpConnectionManager_HTTP2
	// The connection is shared: a malformed request, such as one whose Host is
	// empty, must end alone. Measured: it took all others on it with it.
	manager.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{
		OverrideStreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
	}
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{
		RouteConfig: routeConfiguration(name, &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
			Timeout:          durationpb.New(0),
		}),
	}
	manager.HttpFilters = []*hcmv3.HttpFilter{discoveredAccess(), sanitizer(), routerFilter()}
	return &listenerv3.Listener{
		Name:             name,
		Address:          address(b.workload.Address, port.Port),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
		EnableReusePort:  wrapperspb.Bool(false),
		FilterChains: []*listenerv3.FilterChain{{
			TransportSocket: downstreamTLS(b.snapshot.TrustDomain),
			Filters: []*listenerv3.Filter{
				connectionFacts(port.Port),
				discoveredLifetime(),
				networkFilter("envoy.filters.network.http_connection_manager", manager),
			},
			TransportSocketConnectTimeout: durationpb.New(connectTimeout),
		}},
	}
}

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

// application is the cluster with one endpoint: the application itself.
func (b *builder) application(port mesh.WorkloadPort, name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
					Address: address(b.workload.Application, port.Port),
				}},
			}}}},
		},
		TypedExtensionProtocolOptions: protocolOptions(port.Protocol, 0),
	}
}
