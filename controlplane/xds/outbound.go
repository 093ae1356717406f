package xds

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// outbound makes, for each port of each service, a listener at the address
// where this workload's application dials it. Clusters and endpoints are only
// those of destinations that would let something pass; for the others the
// sidecar answers itself. A listener for HTTP is the same in both cases, so an
// edit of the policy swaps a route and never ends a connection.
func (b *builder) outbound() {
	for _, service := range b.snapshot.Services {
		for _, port := range service.Ports {
			name := OutboundName(service.Name, port.Port)
			standing := b.mesh.scope.Reach(b.workload.ServiceAccount, service.Name, port)
			doors := b.doors(service, port)
			for _, d := range doors {
				switch {
				case !port.Protocol.Opaque():
					b.listener(service, port, d)
				case standing.Open:
					b.add(ListenerType, d.name, b.outboundConnections(service, port, d))
				default:
					b.add(ListenerType, d.name, b.closed(service, port, d, standing))
				}
			}
			// A proxy never asks for routes that no listener of its names.
			if len(doors) > 0 && !port.Protocol.Opaque() {
				b.outboundRoute(service, port, name, standing)
			}
			if standing.Open {
				b.clusters(service, port)
			}
		}
	}
}

// listener adds the one for a port that speaks HTTP. Policies and splits have no
// say in it.
func (b *builder) listener(service mesh.Service, port mesh.ServicePort, d door) {
	b.out.add(ListenerType, d.name, b.mesh.fixed(ListenerType, d.String(), func() proto.Message {
		return b.outboundListener(service, port, d)
	}))
}

// outboundRoute adds the routes of a port: where requests go, or what the
// sidecar itself answers to all of them.
func (b *builder) outboundRoute(service mesh.Service, port mesh.ServicePort, name string, standing mesh.Standing) {
	root := b.rootCluster(service, port)
	kind := name + " " + root + " " + string(standing.Reason) // one for each answer
	b.out.add(RouteType, name, b.mesh.share(RouteType, kind, func() proto.Message {
		if standing.Open {
			return routeTable(b.snapshot, service, port, name, root)
		}
		return answered(name, standing)
	}))
}

// clusters adds what the routes of a port, or its weights, can name.
func (b *builder) clusters(service mesh.Service, port mesh.ServicePort) {
	if root := b.rootCluster(service, port); b.workload.Captured && service.Headless {
		b.out.add(ClusterType, root, b.mesh.share(ClusterType, root, func() proto.Message { return b.dialledCluster(port, root) }))
	}
	for _, backend := range b.snapshot.Backends(service.Name, port.Port) {
		behind, _ := b.snapshot.Service(backend.Service)
		served, ok := behind.Port(port.Port)
		if !ok {
			continue
		}
		name := OutboundName(backend.Service, port.Port)
		cluster := b.mesh.share(ClusterType, name, func() proto.Message { return b.outboundCluster(served, name) }).(*clusterv3.Cluster)
		b.out.add(ClusterType, name, cluster)
		assignment := cluster.GetEdsClusterConfig().GetServiceName()
		b.out.add(EndpointType, assignment, b.mesh.share(EndpointType, assignment, func() proto.Message { return endpoints(served, assignment) }))
	}
}

// OutboundName names the listener, route, cluster and endpoints of one port of
// a service: "outbound|<namespace>/<name>|<port>".
func OutboundName(service mesh.Name, port uint16) string {
	return "outbound|" + service.String() + "|" + strconv.Itoa(int(port))
}

func (b *builder) outboundListener(service mesh.Service, port mesh.ServicePort, d door) *listenerv3.Listener {
	name := OutboundName(service.Name, port.Port)
	manager := connectionManager(name)
	manager.CodecType = hcmv3.HttpConnectionManager_AUTO
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
		RouteConfigName: name,
		ConfigSource:    fromControlPlane(),
	}}
	manager.HttpFilters = []*hcmv3.HttpFilter{routerFilter()}
	to := destination(service.Name, port.Port)
	manager.AccessLog = []*accesslogv3.AccessLog{countForbidden(to), countLocalReplies(outboundDirection, to), countNobodyThere(to)}
	manager.AccessLog = append(manager.AccessLog, b.logOutboundHTTP(to)...)
	b.trace(manager, to)
	return b.outboundAt(d, networkFilter("envoy.filters.network.http_connection_manager", manager))
}

// outboundAt is a listener at a door that hands every connection to one filter.
func (b *builder) outboundAt(d door, filter *listenerv3.Filter) *listenerv3.Listener {
	l := &listenerv3.Listener{
		Name:             d.name,
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		// Two sidecars that were given one address must not share its traffic.
		EnableReusePort: wrapperspb.Bool(false),
		FilterChains:    []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter}}},
	}
	b.listenAt(l, d.addresses, d.port)
	return l
}

func (b *builder) outboundCluster(port mesh.ServicePort, name string) *clusterv3.Cluster {
	cluster := b.toSidecars(port, name)
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	cluster.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: fromControlPlane()}
	cluster.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	cluster.EdsClusterConfig.ServiceName = assignmentName(cluster)
	return cluster
}

// toSidecars is what all clusters of other sidecars have in common.
func (b *builder) toSidecars(port mesh.ServicePort, name string) *clusterv3.Cluster {
	cluster := &clusterv3.Cluster{
		Name:            name,
		ConnectTimeout:  durationpb.New(connectTimeout),
		TransportSocket: upstreamTLS(b.identitiesOf(port)),
		CircuitBreakers: retryBudget(),
	}
	if !port.Protocol.Opaque() {
		// Half of a lifetime passes before a renewal at the latest; a connection
		// must be gone before the other half has passed too.
		cluster.TypedExtensionProtocolOptions = protocolOptions(mesh.HTTP2, b.settings.LeafLifetime*2/5)
	}
	return cluster
}

// assignmentName names a cluster's endpoints after the cluster's content. Envoy
// makes a changed cluster anew and waits for its endpoints, but over delta xDS
// does not ask again for a name it has: measured, such a cluster stood still for
// 15 s and then had no endpoints.
func assignmentName(c *clusterv3.Cluster) string {
	return fmt.Sprintf("%s|%x", c.GetName(), sha256.Sum256(pack(c).GetValue()))[:len(c.GetName())+9]
}

// identitiesOf lists the SPIFFE IDs that may stand behind a port. Without
// endpoints none may: the list then holds one that no certificate carries, as
// an empty list would mean any.
func (b *builder) identitiesOf(port mesh.ServicePort) []string {
	var ids []string
	for _, e := range port.Endpoints {
		ids = append(ids, mesh.SPIFFEID(b.snapshot.TrustDomain, e.ServiceAccount))
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return []string{mesh.SPIFFEPrefix(b.snapshot.TrustDomain)}
	}
	return ids
}

func endpoints(port mesh.ServicePort, name string) *endpointv3.ClusterLoadAssignment {
	locality := &endpointv3.LocalityLbEndpoints{}
	for _, e := range port.Endpoints {
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: address(e.Address, e.Port),
			}},
		})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints:   []*endpointv3.LocalityLbEndpoints{locality},
	}
}
