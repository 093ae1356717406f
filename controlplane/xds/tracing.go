package xds

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	detectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/resource_detectors/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Tracing is where sidecars tell of requests; the zero value is nowhere.
type Tracing struct {
	// Host and Port are those of a collector that speaks OTLP over gRPC.
	Host string
	Port uint16
	// Roots is PEM: whoever signs for Host by it is the collector. Empty: it is spoken
	// to in the clear.
	Roots string
	// Percent is the share of requests that begin a trace, where the caller's
	// application has not decided.
	Percent float64
}

const (
	collectorName = "tracing"
	// spansWaiting bounds the memory of a sidecar whose collector is away: what is
	// beyond is dropped.
	spansWaiting = 1024
	// collectorTimeout bounds one delivery. No request waits for it.
	collectorTimeout = 2 * time.Second
	// spansAfter is how long a sidecar keeps them at most: what a pod that ends has
	// not sent yet is lost.
	spansAfter    = time.Second
	spansAfterKey = "tracing.opentelemetry.flush_interval_ms"
)

// collector makes the cluster of it.
func (b *builder) collector() {
	if b.settings.Tracing.Host != "" {
		b.out.add(ClusterType, collectorName, b.mesh.fixed(ClusterType, collectorName, func() proto.Message {
			return collectorCluster(b.settings.Tracing)
		}))
	}
}

func collectorCluster(t Tracing) *clusterv3.Cluster {
	cluster := oneEndpoint(collectorName, &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: t.Host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(t.Port)},
	}}})
	if _, err := netip.ParseAddr(t.Host); err != nil {
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		// A name that is not found must not keep a sidecar from its start.
		cluster.WaitForWarmOnInit = wrapperspb.Bool(false)
	}
	cluster.TypedExtensionProtocolOptions = protocolOptions(mesh.HTTP2, 0)
	if t.Roots != "" {
		cluster.TransportSocket = collectorTLS(t)
	}
	return cluster
}

// collectorTLS knows the collector by the roots that the setting names, and shows it
// no certificate of the mesh.
func collectorTLS(t Tracing) *corev3.TransportSocket {
	name := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_DNS,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: t.Host}},
	}
	sni := t.Host
	if _, err := netip.ParseAddr(t.Host); err == nil {
		name.SanType, sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, ""
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.UpstreamTlsContext{
			Sni: sni,
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams: &tlsv3.TlsParameters{
					TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				},
				AlpnProtocols: []string{"h2"},
				ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
					TrustedCa:                 &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: t.Roots}},
					MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{name},
				}},
			},
		})},
	}
}

// trace has a connection manager tell of requests; operation names the spans. The
// sidecar and its application are one hop. Who the workload is, its Envoy finds in
// the environment, as listeners are shared.
func (b *builder) trace(m *hcmv3.HttpConnectionManager, operation string) {
	t := b.settings.Tracing
	if t.Host == "" {
		return
	}
	// The id of a request stays what it is, and does not say what is sampled: it is
	// the caller's to choose.
	m.RequestIdExtension = &hcmv3.RequestIDExtension{TypedConfig: pack(&uuidv3.UuidRequestIdConfig{
		PackTraceReason: wrapperspb.Bool(false), UseRequestIdForTraceSampling: wrapperspb.Bool(false),
	})}
	m.Tracing = &hcmv3.HttpConnectionManager_Tracing{
		ClientSampling:  &typev3.Percent{},
		RandomSampling:  &typev3.Percent{Value: t.Percent},
		OverallSampling: &typev3.Percent{Value: 100},
		Operation:       operation,
		CustomTags:      spanTags(),
		Provider: &tracev3.Tracing_Http{
			Name: "envoy.tracers.opentelemetry",
			ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: pack(&tracev3.OpenTelemetryConfig{
				GrpcService: &corev3.GrpcService{
					TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: collectorName}},
					Timeout:         durationpb.New(collectorTimeout),
				},
				SetServiceNameResourceAttribute: wrapperspb.Bool(false),
				ResourceDetectors: []*corev3.TypedExtensionConfig{{
					Name:        "envoy.tracers.opentelemetry.resource_detectors.environment",
					TypedConfig: pack(&detectorv3.EnvironmentResourceDetectorConfig{}),
				}},
				MaxCacheSize: wrapperspb.UInt32(spansWaiting),
			})},
		},
	}
}

// spanTags are what certificates say of the two peers, and the path without its
// query in place of the URL with it.
func spanTags() []*tracingv3.CustomTag {
	return []*tracingv3.CustomTag{
		format("http.url", "%PATH(NQ:PATH):1024%"),
		format("source.identity", "%DOWNSTREAM_PEER_URI_SAN%"),
		format("source.workload", "%DOWNSTREAM_PEER_DNS_SAN%"),
		format("destination.identity", "%UPSTREAM_PEER_URI_SAN%"),
		format("destination.workload", "%UPSTREAM_PEER_DNS_SAN%"),
	}
}
