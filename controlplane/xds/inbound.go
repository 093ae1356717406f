package xds

import (
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/config"
)

// inbound makes, for each port of the workload, a listener that speaks mutual
// TLS with other sidecars and hands what the policy allows to the application.
func (b *builder) inbound() {
	for _, port := range b.workload.Ports {
		name := "inbound|" + strconv.Itoa(int(port.Port))
		b.add(ListenerType, name, b.inboundListener(port, name))
		b.add(ClusterType, name, b.application(port, name))
	}
}

// filters makes what the sidecar discovers by name: all that names a module.
func (b *builder) filters() {
	b.attach()
	if b.settings.Module == "" || len(b.workload.Ports) == 0 {
		return
	}
	requests, connections := false, false
	for _, port := range b.workload.Ports {
		requests = requests || !port.Protocol.Opaque()
		connections = connections || port.Protocol.Opaque()
	}
	table := b.mesh.table(b.workload.ServiceAccount)
	if requests {
		b.add(FilterType, config.AccessFilter, b.accessConfig(table))
		b.add(FilterType, config.LifetimeFilter, b.lifetimeConfig())
	}
	if connections {
		b.add(FilterType, config.ConnectionsFilter, b.connectionsConfig(table))
	}
}

func (b *builder) inboundListener(port mesh.WorkloadPort, name string) *listenerv3.Listener {
	chain := &listenerv3.FilterChain{
		Name:                          "mesh",
		TransportSocket:               downstreamTLS(b.snapshot.TrustDomain),
		TransportSocketConnectTimeout: durationpb.New(connectTimeout),
		Filters: []*listenerv3.Filter{
			connectionFacts(port.Port),
			discoveredLifetime(),
			networkFilter("envoy.filters.network.http_connection_manager", b.inboundManager(port, name)),
		},
	}
	if port.Protocol.Opaque() {
		chain.Filters = []*listenerv3.Filter{connectionFacts(port.Port), discoveredConnections(), b.guarded(port, name)}
	}
	listener := &listenerv3.Listener{
		Name:             name,
		TrafficDirection: corev3.TrafficDirection_INBOUND,
		EnableReusePort:  wrapperspb.Bool(false),
		FilterChains:     []*listenerv3.FilterChain{chain},
		AccessLog:        b.logStrangers(),
	}
	b.listenAt(listener, b.dialledAt(), port.Port)
	if b.workload.Grace {
		b.admitPlaintext(listener, port, name)
	}
	return listener
}

func (b *builder) inboundManager(port mesh.WorkloadPort, name string) *hcmv3.HttpConnectionManager {
	manager := connectionManager(name)
	manager.CodecType = hcmv3.HttpConnectionManager_HTTP2
	manager.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{
		// The connection is shared: a malformed request, such as one whose Host is
		// empty, must end alone. Measured: it took all others on it with it.
		OverrideStreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
		// A WebSocket comes as CONNECT with a :protocol (RFC 8441).
		AllowConnect: true,
	}
	manager.RouteSpecifier = toApplication(name)
	manager.HttpFilters = append(b.attachedFilters(), discoveredAccess(), sanitizer(), routerFilter())
	manager.LocalReplyConfig.Mappers = append(manager.LocalReplyConfig.Mappers, tellUnreached())
	observeHTTP(manager, port.Port)
	manager.AccessLog = append(manager.AccessLog, countLocalReplies(inboundDirection, destination(b.workload.Name, port.Port)))
	manager.AccessLog = append(manager.AccessLog, b.logInboundHTTP()...)
	b.trace(manager, b.workload.Metered().String())
	return manager
}

// toApplication routes everything to the cluster of that name.
func toApplication(name string) *hcmv3.HttpConnectionManager_RouteConfig {
	table := routeConfiguration(name, &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
		Timeout:          durationpb.New(0),
	})
	table.ResponseHeadersToRemove = []string{unreached}
	return &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: table}
}

// application is the cluster with one endpoint: the application itself.
func (b *builder) application(port mesh.WorkloadPort, name string) *clusterv3.Cluster {
	cluster := oneEndpoint(name, address(b.workload.Application, port.Port))
	if b.workload.Captured {
		cluster.UpstreamBindConfig = fromInside()
	}
	if !port.Protocol.Opaque() {
		cluster.TypedExtensionProtocolOptions = protocolOptions(port.Protocol, 0)
	}
	return cluster
}

// oneEndpoint is a cluster at an address that never changes.
func oneEndpoint(name string, at *corev3.Address) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: at}},
			}}}},
		},
	}
}
