// Package traffic names the metrics: which series a finished request belongs
// to, and how its labels are written into a metric's name.
//
// It is pure and used by the filter that counts and by the control plane that
// reads. It never counts anything itself, and never takes a label from a header.
package traffic

import "strconv"

// The metrics the sidecar exposes. Names and labels may still change.
const (
	// Requests counts finished requests by source, destination and code.
	Requests = "wasmesh_requests_total"
	// Denials counts refused requests by source, destination and reason.
	Denials = "wasmesh_denials_total"
	// Forbidden counts the 403 answers that a caller's application gets, and the
	// connections to opaque ports that its own sidecar closes instead, by
	// destination (the service and port dialled) and reason. The reason is that of
	// the caller's own sidecar, which refuses where nothing could pass; it is empty
	// where the answer came from the destination. Envoy itself counts this one: to
	// Prometheus it is ForbiddenScope + "_" + Forbidden behind "envoy_".
	Forbidden      = "forbidden_total"
	ForbiddenScope = "wasmesh"
	// Audited counts what passed and would be refused under mode enforce, by
	// source, destination and reason.
	Audited = "wasmesh_audited_total"
	// Revoked counts open requests and connections that were ended because an
	// edit took away what allowed them, by source, destination and reason.
	Revoked = "wasmesh_revoked_total"
	// Connections counts connections that passed to an opaque port, by source and
	// destination.
	Connections = "wasmesh_connections_total"
	// PolicyVersion is a gauge: Version of the table that decides right now.
	PolicyVersion = "wasmesh_policy_version"
	// ConnectionPolicyVersion is the same for opaque ports.
	ConnectionPolicyVersion = "wasmesh_connection_policy_version"
	// Expired counts connections closed because the peer's certificate ended.
	Expired = "wasmesh_expired_connections_total"
	// Panics counts callbacks that failed inside and were answered by a denial.
	Panics = "wasmesh_panics_total"
)

// Unknown stands for a peer without a label of ours.
const Unknown = "unknown"

// RequestSeries is the series of one finished request; code 0 is no response.
func RequestSeries(source, destination string, code int) string {
	return Requests + label("source", source) + label("destination", destination) +
		label("response_code", strconv.Itoa(code))
}

// DenialSeries is the series of one refused request or connection.
func DenialSeries(source, destination, reason string) string {
	return ReasonSeries(Denials, source, destination, reason)
}

// ReasonSeries is the series of one event with a reason; metric is Denials,
// Audited or Revoked.
func ReasonSeries(metric, source, destination, reason string) string {
	return metric + label("source", source) + label("destination", destination) + label("reason", reason)
}

// ConnectionSeries is the series of one connection to an opaque port.
func ConnectionSeries(source, destination string) string {
	return Connections + label("source", source) + label("destination", destination)
}

// label writes one label as the sidecar's stats_tags read it: ".=name=.=value;.;".
func label(name, value string) string { return ".=" + name + "=.=" + value + ";.;" }
