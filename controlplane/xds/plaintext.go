package xds

import (
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// silence is how long a caller may say nothing before it is taken for one that
// waits for the server to speak: such a caller has no handshake to begin.
const silence = time.Second

// admitPlaintext lets callers without a sidecar in beside those of the mesh
// (smi-rules 35). Mesh TLS is told from an application's own by the protocol's
// name. The policy is not asked: it has nobody to speak of.
// The filters of users are, if it is HTTP.
func (b *builder) admitPlaintext(l *listenerv3.Listener, port mesh.WorkloadPort, name string) {
	l.FilterChains[0].FilterChainMatch = &listenerv3.FilterChainMatch{
		TransportProtocol: "tls", ApplicationProtocols: []string{protocolName},
	}
	l.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name: "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{
			TypedConfig: pack(&tlsinspectorv3.TlsInspector{}),
		},
	}}
	proxy := toCluster(name)
	observeTCP(proxy, port.Port)
	proxy.AccessLog = append(proxy.AccessLog, b.logInboundTCP("")...)
	raw := []*listenerv3.Filter{networkFilter(tcpProxyName, proxy)}
	if port.Protocol.Opaque() {
		l.ListenerFiltersTimeout = durationpb.New(silence)
		l.ContinueOnListenerFiltersTimeout = true
		l.DefaultFilterChain = &listenerv3.FilterChain{Name: "plaintext", Filters: raw}
		return
	}
	l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{
		Name:             "own-tls",
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
		Filters:          raw,
	})
	manager := connectionManager("plaintext|" + name)
	manager.CodecType = hcmv3.HttpConnectionManager_AUTO
	manager.RouteSpecifier = toApplication(name)
	manager.HttpFilters = append(b.attachedFilters(), sanitizer(), routerFilter())
	observeHTTP(manager, port.Port)
	manager.AccessLog = append(manager.AccessLog, b.logInboundHTTP()...)
	b.trace(manager, b.workload.Metered().String())
	l.DefaultFilterChain = &listenerv3.FilterChain{
		Name:    "plaintext",
		Filters: []*listenerv3.Filter{networkFilter("envoy.filters.network.http_connection_manager", manager)},
	}
}
