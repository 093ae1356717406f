package observe

import (
	"strconv"
	"strings"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// LogName is the name under which sidecars send their entries.
const LogName = "wasmesh.observed"

// The tags that an entry carries; whoever configures a sidecar and Add agree on
// them. An entry without TagMethod is an opaque connection's.
const (
	// TagPort is the container port, a literal of the listener.
	TagPort   = "port"
	TagMethod = "method"
	// TagPath is the path as the filters saw it, without its query.
	TagPath = "path"
	// TagCode is the status of the answer.
	TagCode = "code"
)

// Add takes in an entry that a sidecar of the destination account sent and that
// arrived at the given time. What did not reach the application, such as a
// request that the sidecar itself answered, is no traffic and is passed over.
func (s *Set) Add(destination mesh.Name, e *accesslogv3.TCPAccessLogEntry, at time.Time) {
	common := e.GetCommonProperties()
	if common.GetUpstreamRemoteAddress() == nil {
		return
	}
	final, known := isFinal(common.GetAccessLogType())
	if !known {
		return
	}
	lose := func(l Loss) {
		if final { // else its final entry will tell
			s.lose(l)
		}
	}
	k := key{destination: destination}
	tags := common.GetCustomTags()
	port, err := strconv.ParseUint(tags[TagPort], 10, 16)
	if err != nil || port == 0 {
		lose(Loss{Cause: Unreadable, Destination: destination})
		return
	}
	k.port = uint16(port)
	var cause Cause
	if k.source, cause = s.source(common.GetTlsProperties()); cause != "" {
		lose(Loss{Cause: cause, Destination: destination, Port: k.port})
		return
	}
	var isHTTP bool
	if k.method, isHTTP = tags[TagMethod]; !isHTTP {
		k.opaque = true
	} else if k.path, isHTTP = readable(k.method, tags[TagPath]); !isHTTP {
		lose(Loss{Cause: Unreadable, Destination: destination, Source: k.source, Port: k.port})
		return
	}
	code := tags[TagCode]
	s.count(k, final, code == "404" || code == "405", at)
}

// isFinal reports whether entries of a type are counted, and whether the type is
// one that the sidecar was asked for.
func isFinal(t accesslogv3.AccessLogType) (final, known bool) {
	switch t {
	case accesslogv3.AccessLogType_DownstreamEnd, accesslogv3.AccessLogType_TcpConnectionEnd:
		return true, true
	case accesslogv3.AccessLogType_DownstreamPeriodic, accesslogv3.AccessLogType_TcpUpstreamConnected:
		return false, true
	}
	return false, false
}

// source reads the caller's service account from the certificate that the
// sidecar verified.
func (s *Set) source(t *accesslogv3.TLSProperties) (mesh.Name, Cause) {
	peer := t.GetPeerCertificateProperties()
	if t == nil || peer == nil {
		return mesh.Name{}, NoIdentity
	}
	var ids []string
	for _, san := range peer.GetSubjectAltName() {
		if uri := san.GetUri(); uri != "" {
			ids = append(ids, uri)
		}
	}
	if len(ids) != 1 {
		return mesh.Name{}, ForeignIdentity
	}
	if account, ok := mesh.ParseSPIFFEID(s.trustDomain, ids[0]); ok {
		return account, ""
	}
	return mesh.Name{}, ForeignIdentity
}

// readable returns the canonical path of a request that the set can keep.
func readable(method, path string) (string, bool) {
	if method == "" || len(method) > MaxMethod || strings.ContainsFunc(method, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", false
	}
	// The sidecar has made it canonical: what is too long here stays too long.
	if len(path) > MaxPath {
		return "", false
	}
	p, ok := policy.Normalize(path)
	return p.Literal, ok && len(p.Literal) <= MaxPath
}
