package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	accesslogdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// The variables of its environment in which a sidecar's Envoy finds who it serves;
// injector/sidecar has the same. Listeners for HTTP are shared by all callers, so
// they cannot say it.
const (
	ownNamespace = "WASMESH_NAMESPACE"
	ownKind      = "WASMESH_KIND"
	ownName      = "WASMESH_NAME"
	ownPod       = "WASMESH_POD"
)

// told finds what the filter has left; see guest.VerdictKey.
const (
	toldKey = "'wasm." + guest.VerdictKey + "'"
	told    = "string(filter_state[" + toldKey + "])"
	isTold  = toldKey + " in filter_state"
	// unloaded is how requests are refused where there is no module; see discoveredAccess.
	unloaded = "response.code_details.startsWith('rbac_access_denied')"
	// refusedHere: the caller's own sidecar has refused; see answered.
	refusedHere = "response.code == 403 && response.code_details == 'direct_response'"
	// ofMesh: the caller has shown its certificate.
	ofMesh = "connection.mtls"
	// noHandshake: it came to none, or to one that failed.
	noHandshake = "connection.transport_failure_reason != '' && !('" + guest.ConnectionKey + "' in filter_state)"
	failed      = "response.code >= 500"
	wasDenied   = "(" + isTold + " && " + told + ".startsWith('" + guest.Denied + "|'))"
	// nothing has no value, which in JSON is null; CEL's own null would be a word.
	nothing = "filter_state['']"
	// unreachable: the connection came to nobody.
	unreachable = "!has(upstream.address)"
)

// ofAny is what is known of every stream.
func ofAny(direction string) fields {
	return fields{
		"time": "%START_TIME%", "direction": direction,
		"duration_ms": "%DURATION%", "received_bytes": "%BYTES_RECEIVED%", "sent_bytes": "%BYTES_SENT%",
		"flags": "%RESPONSE_FLAGS%",
	}
}

// ofRequest is what of a request is logged: of its headers none, and of its path
// what comes before the query.
func ofRequest() fields {
	return fields{
		"protocol": "%PROTOCOL%", "method": "%REQ(:METHOD):32%", "path": "%PATH(NQ:PATH):1024%",
		"code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%",
		"request_id": "%REQ(X-REQUEST-ID):64%", "trace_id": "%TRACE_ID%",
	}
}

func ofConnection() fields {
	return fields{"protocol": "TCP", "details": "%CONNECTION_TERMINATION_DETAILS%"}
}

// whoever calls, by its certificate.
func whoever() fields {
	e := identity.ExpressionsOf("connection")
	return fields{
		"source_namespace": cel(e.Namespace), "source_kind": cel(e.Kind), "source_name": cel(e.Name), "source_pod": cel(e.Pod),
	}
}

// ofOwn is this sidecar's workload as the caller.
func ofOwn() fields {
	env := func(name string) string { return "%ENVIRONMENT(" + name + ")%" }
	return fields{
		"source_namespace": env(ownNamespace), "source_kind": env(ownKind), "source_name": env(ownName), "source_pod": env(ownPod),
	}
}

// inboundFields are those of what comes to a port of this workload. A captured
// connection has the port at which it was dialled again.
func (b *builder) inboundFields() fields {
	own := b.workload.Metered()
	return ofAny(inboundDirection).with(whoever(), fields{
		"source_identity":       "%DOWNSTREAM_PEER_URI_SAN%",
		"destination_namespace": own.Namespace, "destination_kind": own.Kind, "destination_name": own.Name,
		"destination_pod": b.workload.Name.Name, "port": "%DOWNSTREAM_LOCAL_PORT%",
	})
}

// outboundFields are those of what this workload sends to a service.
func outboundFields(to string) fields {
	e := identity.OwnerExpressions("upstream")
	return ofAny(outboundDirection).with(ofOwn(), fields{
		"destination_namespace": cel(e.Namespace), "destination_kind": cel(e.Kind), "destination_name": cel(e.Name),
		"destination_peer": "%UPSTREAM_PEER_DNS_SAN%",

		"destination_identity": "%UPSTREAM_PEER_URI_SAN%", "destination_service": to,
	})
}

// verdict is what the filter has left, and what to say where there is none of it.
func verdict(word, reason string) fields {
	part := func(n string) string { return told + ".split('|')[" + n + "]" }
	filled := func(n string) string { return part(n) + " == '' ? " + nothing + " : " + part(n) }
	return fields{
		"verdict": cel(isTold + " ? " + part("0") + " : " + word),
		"rule":    cel(isTold + " ? (" + filled("1") + ") : " + nothing),
		"reason":  cel(isTold + " ? (" + filled("2") + ") : " + reason),
	}
}

// logInboundHTTP logs requests that come to a port of this workload.
func (b *builder) logInboundHTTP() []*accesslogv3.AccessLog {
	return b.accessLogs(line{
		fields: b.inboundFields().with(ofRequest(), verdict(
			unloaded+" ? '"+guest.Denied+"' : "+nothing, unloaded+" ? 'module' : "+nothing,
		)),
		ends:   accesslogdatav3.AccessLogType_DownstreamEnd,
		always: failed + " || " + wasDenied + " || " + unloaded,
	})
}

// logInboundTCP logs connections to an opaque port, and those without a sidecar that
// are let in, of which the policy says nothing.
func (b *builder) logInboundTCP(only string) []*accesslogv3.AccessLog {
	return b.accessLogs(line{
		fields: b.inboundFields().with(ofConnection(), verdict(nothing, nothing)),
		ends:   accesslogdatav3.AccessLogType_TcpConnectionEnd,
		only:   only,
		always: wasDenied,
	})
}

// logStrangers logs connections whose caller shows no certificate of the mesh: no
// filter and no proxy comes to see them. What a certificate says that nobody has
// vouched for names nobody.
func (b *builder) logStrangers() []*accesslogv3.AccessLog {
	unknown := identity.Unknown()
	return b.accessLogsOfRefused(b.inboundFields().with(ofConnection(), fields{
		"source_namespace": unknown.Namespace, "source_kind": unknown.Kind, "source_name": unknown.Name, "source_pod": unknown.Name,
		"source_identity": cel(nothing), "details": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
		"verdict": guest.Denied, "rule": cel(nothing), "reason": "certificate",
	}), where(noHandshake))
}

// logUnknown logs connections to a port of which the mesh knows nothing.
func (b *builder) logUnknown() []*accesslogv3.AccessLog {
	return b.accessLogsOfRefused(b.inboundFields().with(ofConnection(), fields{
		"source_identity": cel(nothing), "verdict": guest.Denied, "rule": cel(nothing), "reason": string(policy.ReasonPort),
	}), nil)
}

// logOutboundHTTP logs requests of this workload. Their verdict is for the
// destination to say, but where its own sidecar does so for it.
func (b *builder) logOutboundHTTP(to string) []*accesslogv3.AccessLog {
	return b.accessLogs(line{
		fields: outboundFields(to).with(ofRequest(), fields{
			"verdict": cel(refusedHere + " ? '" + guest.Denied + "' : " + nothing),
			"reason":  "%METADATA(ROUTE:" + reasonNamespace + ":" + reasonKey + ")%",
		}),
		ends:   accesslogdatav3.AccessLogType_DownstreamEnd,
		always: failed + " || " + refusedHere,
	})
}

// logOutboundTCP logs connections of this workload to an opaque port.
func (b *builder) logOutboundTCP(to string) []*accesslogv3.AccessLog {
	return b.accessLogs(line{
		fields: outboundFields(to).with(ofConnection()),
		ends:   accesslogdatav3.AccessLogType_TcpConnectionEnd,
		always: unreachable,
	})
}

// logClosed logs what this sidecar closes before a byte is read.
func (b *builder) logClosed(to string, why policy.Reason) []*accesslogv3.AccessLog {
	return b.accessLogsOfRefused(ofAny(outboundDirection).with(ofOwn(), ofConnection(), fields{
		"destination_service": to, "verdict": guest.Denied, "reason": string(why),
	}), nil)
}
