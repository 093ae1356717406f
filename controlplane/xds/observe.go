package xds

import (
	"strconv"
	"time"

	accesslogconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/filters/policy"
)

const (
	// controlPlaneCluster is the one cluster of the sidecar's bootstrap; see
	// injector/sidecar.
	controlPlaneCluster = "controlplane"
	// observeFlush and observeBuffer bound what waits in a sidecar: what does not
	// get through is dropped there, and no request waits for it.
	observeFlush  = time.Second
	observeBuffer = 16 << 10
	// observeOpen is how soon a stream that stays open is told of.
	observeOpen = 5 * time.Second
)

// The layer and key of the sidecar's runtime that switch observing on. A switch
// inside the listener would replace it, and with it every open connection, each
// time a namespace changes its mode.
const (
	RuntimeLayer = "wasmesh"
	observeKey   = "wasmesh.observe"
)

// runtime has this workload's sidecar tell what reached its application, unless
// the policy is enforced: then there is nothing to learn from it.
func (b *builder) runtime() {
	percent := 0.0
	if b.workload.Mode != policy.Enforce {
		percent = 100
	}
	layer := map[string]*structpb.Value{observeKey: structpb.NewNumberValue(percent)}
	if b.settings.AccessLog > 0 {
		layer[accessLogKey] = accessLogShare(b.settings.AccessLog)
	}
	if b.settings.Tracing.Host != "" {
		layer[spansAfterKey] = structpb.NewNumberValue(float64(spansAfter.Milliseconds()))
	}
	b.add(RuntimeType, RuntimeLayer, &runtimev3.Runtime{Name: RuntimeLayer, Layer: &structpb.Struct{Fields: layer}})
}

// observeHTTP has a connection manager tell of requests. Envoy's form for HTTP
// requests always carries authority, user agent, referer and query with it; the
// form for connections carries no header at all but those that it is told to.
func observeHTTP(m *hcmv3.HttpConnectionManager, port uint16) {
	m.AccessLog = append(m.AccessLog, accessLog(
		tag(observe.TagPort, strconv.Itoa(int(port))),
		format(observe.TagMethod, "%REQ(:METHOD)%"),
		format(observe.TagPath, "%PATH(NQ:PATH)%"),
		format(observe.TagCode, "%RESPONSE_CODE%"),
	))
	m.AccessLogOptions = &hcmv3.HttpConnectionManager_HcmAccessLogOptions{
		AccessLogFlushInterval: durationpb.New(observeOpen),
	}
}

// observeTCP has a TCP proxy tell of connections, as soon as they reach the
// application: some stay open for weeks.
func observeTCP(p *tcpproxyv3.TcpProxy, port uint16) {
	p.AccessLog = append(p.AccessLog, accessLog(tag(observe.TagPort, strconv.Itoa(int(port)))))
	p.AccessLogOptions = &tcpproxyv3.TcpProxy_TcpAccessLogOptions{FlushAccessLogOnConnected: true}
}

// accessLog sends entries with the given tags to the control plane.
func accessLog(tags ...*tracingv3.CustomTag) *accesslogconfigv3.AccessLog {
	return &accesslogconfigv3.AccessLog{
		Name: "envoy.access_loggers.tcp_grpc",
		Filter: &accesslogconfigv3.AccessLogFilter{FilterSpecifier: &accesslogconfigv3.AccessLogFilter_RuntimeFilter{
			RuntimeFilter: &accesslogconfigv3.RuntimeFilter{RuntimeKey: observeKey},
		}},
		ConfigType: &accesslogconfigv3.AccessLog_TypedConfig{TypedConfig: pack(&grpclogv3.TcpGrpcAccessLogConfig{
			CommonConfig: &grpclogv3.CommonGrpcAccessLogConfig{
				LogName:             observe.LogName,
				TransportApiVersion: corev3.ApiVersion_V3,
				GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: controlPlaneCluster},
				}},
				BufferFlushInterval: durationpb.New(observeFlush),
				BufferSizeBytes:     wrapperspb.UInt32(observeBuffer),
				CustomTags:          tags,
			},
		})},
	}
}

func tag(name, value string) *tracingv3.CustomTag {
	return &tracingv3.CustomTag{Tag: name, Type: &tracingv3.CustomTag_Literal_{
		Literal: &tracingv3.CustomTag_Literal{Value: value},
	}}
}

// format is a tag whose value Envoy makes of the request.
func format(name, value string) *tracingv3.CustomTag {
	return &tracingv3.CustomTag{Tag: name, Type: &tracingv3.CustomTag_Value{Value: value}}
}
