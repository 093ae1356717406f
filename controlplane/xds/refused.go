package xds

import (
	"strconv"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	directv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// Where a route keeps why its sidecar refuses.
const (
	reasonNamespace = "wasmesh"
	reasonKey       = "reason"
)

// answered is the route table of a port at which nothing can pass: the caller's
// own sidecar says what the destination's would. The reason is for the operator's
// counter; the caller does not see it.
func answered(name string, standing mesh.Standing) *routev3.RouteConfiguration {
	route := direct(403, policy.Refusal)
	if standing.Reason == policy.ReasonNone { // nobody is there: as Envoy says it
		route = direct(503, "no healthy upstream")
	} else {
		route.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			reasonNamespace: {Fields: map[string]*structpb.Value{reasonKey: structpb.NewStringValue(string(standing.Reason))}},
		}}
	}
	return alwaysRouted(name, route)
}

func direct(status uint32, body string) *routev3.Route {
	return &routev3.Route{Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: status,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: body}},
	}}}
}

// closed is the listener of an opaque port at which nothing can pass: it ends
// each connection before a byte is read, as nobody could be told why.
func (b *builder) closed(service mesh.Service, port mesh.ServicePort, d door, standing mesh.Standing) *listenerv3.Listener {
	l := b.outboundAt(d, hangUp())
	if standing.Reason != policy.ReasonNone {
		to := destination(service.Name, port.Port)
		l.AccessLog = append(b.logClosed(to, standing.Reason), counter(to, string(standing.Reason)))
	}
	return l
}

// hangUp ends a connection before a byte is read.
func hangUp() *listenerv3.Filter {
	return networkFilter("envoy.filters.network.direct_response", &directv3.Config{})
}

// countForbidden counts 403 answers, and those that say the same in gRPC. Where an
// answer has no gRPC status, Envoy takes the one that its HTTP status stands for.
func countForbidden(destination string) *accesslogv3.AccessLog {
	log := counter(destination, "%METADATA(ROUTE:"+reasonNamespace+":"+reasonKey+")%")
	log.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_GrpcStatusFilter{
		GrpcStatusFilter: &accesslogv3.GrpcStatusFilter{
			Statuses: []accesslogv3.GrpcStatusFilter_Status{accesslogv3.GrpcStatusFilter_PERMISSION_DENIED},
		},
	}}
	return log
}

// destination names a port of a service in a counter.
func destination(service mesh.Name, port uint16) string {
	return service.String() + ":" + strconv.Itoa(int(port))
}

// counter counts refusals; reason may be a format of Envoy's.
func counter(destination, reason string) *accesslogv3.AccessLog {
	return statsLog(traffic.Forbidden,
		&statsv3.Config_Tag{Name: "destination", ValueFormat: destination},
		&statsv3.Config_Tag{Name: "reason", ValueFormat: reason})
}

// statsLog is Envoy's own logger that counts.
func statsLog(name string, tags ...*statsv3.Config_Tag) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "envoy.access_loggers.stats",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&statsv3.Config{
			StatsScope: &typev3.Scope{Prefix: traffic.OwnScope},
			Counters: []*statsv3.Config_Counter{{
				Stat:       &statsv3.Config_Stat{Name: name, Tags: tags},
				ValueFixed: wrapperspb.UInt64(1),
			}},
		})},
	}
}
