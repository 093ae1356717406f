// Package traffic names the metrics: which series a finished request belongs
// to, and how its labels are written into a metric's name.
//
// It is pure and used by the filter that counts and by the control plane that
// reads. It never counts anything itself, and never takes a label from a header.
package traffic

import (
	"strconv"

	"github.com/wasmesh/wasmesh/filters/identity"
)

// The metrics the sidecar exposes. Names and labels may still change.
const (
	// Requests counts finished requests by the namespace, kind and name of source and
	// destination, and by code. Duration is a histogram of how long they took, in
	// milliseconds, without the code. Names and labels are those of Open Service Mesh:
	// Flagger's provider "osm" and its dashboards read them.
	Requests = "osm_request_total"
	Duration = "osm_request_duration_ms"
	// LabelCode is that of the code, 0 for no answer; SourceLabels and
	// DestinationLabels are how those of the two workloads begin.
	LabelCode         = "response_code"
	SourceLabels      = "source_"
	DestinationLabels = "destination_"
	// Folded counts events that were counted under Overflow, as there are too many
	// peers to tell them apart.
	Folded = "wasmesh_folded_total"
	// Denials counts refused requests by source, destination and reason.
	Denials = "wasmesh_denials_total"
	// Forbidden counts the 403 answers that a caller's application gets, and the
	// connections to opaque ports that its own sidecar closes instead, by
	// destination (the service and port dialled) and reason. The reason is that of
	// the caller's own sidecar, which refuses where nothing could pass; it is empty
	// where the answer came from the destination. Envoy itself counts this one: to
	// Prometheus it is OwnScope + "_" + Forbidden behind "envoy_".
	Forbidden = "forbidden_total"
	OwnScope  = "wasmesh"
	// Audited counts what passed and would be refused under mode enforce, by
	// source, destination and reason.
	Audited = "wasmesh_audited_total"
	// Revoked counts open requests and connections that were ended because an
	// edit took away what allowed them, by source, destination and reason.
	Revoked = "wasmesh_revoked_total"
	// Connections counts connections that passed to an opaque port, by source and
	// destination.
	Connections = "wasmesh_connections_total"
	// RequestBytes and ResponseBytes count bytes of requests and their answers,
	// headers with them, by source and destination.
	RequestBytes  = "wasmesh_request_bytes_total"
	ResponseBytes = "wasmesh_response_bytes_total"
	// ReceivedBytes and SentBytes count bytes from the source and to it on
	// connections to opaque ports, by source and destination.
	ReceivedBytes = "wasmesh_received_bytes_total"
	SentBytes     = "wasmesh_sent_bytes_total"
	// LocalReplies counts requests that a sidecar answered itself because they could
	// not be forwarded, by its direction, destination and Envoy's response flags. At
	// a caller's sidecar (outbound) that is the service and port dialled; nobody else
	// has counted the request. At the destination's (inbound) it is the workload, and
	// Requests has counted it with its code. Denials are not among them. To Prometheus
	// it is OwnScope + "_" + LocalReplies behind "envoy_".
	LocalReplies = "local_replies_total"
	// PolicyVersion is a gauge: Version of the table that decides right now.
	PolicyVersion = "wasmesh_policy_version"
	// ConnectionPolicyVersion is the same for opaque ports.
	ConnectionPolicyVersion = "wasmesh_connection_policy_version"
	// Expired counts connections closed because the peer's certificate ended.
	Expired = "wasmesh_expired_connections_total"
	// Panics counts callbacks that failed inside and were answered by a denial.
	Panics = "wasmesh_panics_total"
)

// Overflow stands for all peers beyond what one filter tells apart.
const Overflow = "overflow"

// RequestSeries is the series of one finished request; code 0 is no response.
func RequestSeries(source, destination identity.Workload, code int) string {
	return Requests + edge(source, destination) + label(LabelCode, strconv.Itoa(code))
}

// DurationSeries is the histogram of requests from one workload to another.
func DurationSeries(source, destination identity.Workload) string {
	return Duration + edge(source, destination)
}

// maxCodes is how many codes of one edge are told apart.
const maxCodes = 4

// Code is the code under which a response is counted, where those in seen already
// are: what an application answers must not make series without end. Beyond some
// codes it is the first of its class, so that 418 is 400, and a failure stays one.
func Code(code int, seen int, known bool) int {
	switch {
	case code < 100 || code > 599:
		return 0
	case known || seen < maxCodes:
		return code
	}
	return code / 100 * 100
}

// GRPC is the code under which an answer of gRPC is counted, by its status: that of
// HTTP which says the same (google.rpc.Code, "HTTP Mapping"). The answer itself has
// 200, whatever became of the call.
func GRPC(status int) int {
	codes := [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}
	if status < 0 || status >= len(codes) {
		return 500
	}
	return codes[status]
}

func edge(source, destination identity.Workload) string {
	return side(SourceLabels, source) + side(DestinationLabels, destination)
}

func side(of string, w identity.Workload) string {
	return label(of+"namespace", w.Namespace) + label(of+"kind", w.Kind) + label(of+"name", w.Name)
}

// DenialSeries is the series of one refused request or connection.
func DenialSeries(source, destination identity.Workload, reason string) string {
	return ReasonSeries(Denials, source, destination, reason)
}

// ReasonSeries is the series of one event with a reason; metric is Denials,
// Audited or Revoked.
func ReasonSeries(metric string, source, destination identity.Workload, reason string) string {
	return metric + label("source", source.String()) + label("destination", destination.String()) + label("reason", reason)
}

// EdgeSeries is the series of what has no reason; metric is Connections or one that
// counts bytes.
func EdgeSeries(metric string, source, destination identity.Workload) string {
	return metric + label("source", source.String()) + label("destination", destination.String())
}

// label writes one label as the sidecar's stats_tags read it: ".=name=.=value;.;".
func label(name, value string) string { return ".=" + name + "=.=" + value + ";.;" }
