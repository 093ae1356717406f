package xds

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const tcpProxyName = "envoy.filters.network.tcp_proxy"

// toCluster hands a connection to one cluster.
func toCluster(name string) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{
		StatPrefix:       name,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: name},
		IdleTimeout:      durationpb.New(idleTimeout),
	}
}

// guarded hands a connection to the application once the caller's certificate is
// known. By default it would connect before, and a server that speaks first
// would be heard by whoever is denied.
func (b *builder) guarded(port mesh.WorkloadPort, name string) *listenerv3.Filter {
	proxy := toCluster(name)
	proxy.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE
	proxy.MaxEarlyDataBytes = wrapperspb.UInt32(1)
	observeTCP(proxy, port.Port)
	proxy.AccessLog = append(proxy.AccessLog, countLocalReplies(inboundDirection, destination(b.workload.Name, port.Port)))
	proxy.AccessLog = append(proxy.AccessLog, b.logInboundTCP(ofMesh)...)
	return networkFilter(tcpProxyName, proxy)
}

// outboundConnections is the listener of an opaque port: each connection goes to
// one backend, chosen by weight (smi-rules 79).
func (b *builder) outboundConnections(service mesh.Service, port mesh.ServicePort, d door) *listenerv3.Listener {
	proxy := toCluster(b.rootCluster(service, port))
	if split := backends(b.snapshot, service.Name, port.Port); split != nil {
		weighted := &tcpproxyv3.TcpProxy_WeightedCluster{}
		for _, s := range split {
			if s.weight == 0 {
				continue // the proxy takes no weight of 0
			}
			weighted.Clusters = append(weighted.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{
				Name: s.cluster, Weight: s.weight,
			})
		}
		proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	}
	to := destination(service.Name, port.Port)
	proxy.AccessLog = append(b.logOutboundTCP(to), countLocalReplies(outboundDirection, to))
	return b.outboundAt(d, networkFilter(tcpProxyName, proxy))
}
