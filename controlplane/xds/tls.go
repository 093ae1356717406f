package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// The sidecar keeps its certificate and the mesh's roots in these files, beside
// Envoy, and Envoy reloads them when they change.
const (
	identitySecret = "identity"
	trustSecret    = "trust"
)

// protocolName is the mesh's ALPN name: no application's own TLS speaks it.
const protocolName = "wasmesh"

// upstreamTLS connects only to the listed SPIFFE IDs.
func upstreamTLS(ids []string) *corev3.TransportSocket {
	var pins []*tlsv3.SubjectAltNameMatcher
	for _, id := range ids {
		pins = append(pins, uriPin(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id},
		}))
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: commonTLS(pins),
			MaxSessionKeys:   wrapperspb.UInt32(0),
		})},
	}
}

// downstreamTLS accepts any workload of the trust domain: who may do what is
// the policy's to say. Sessions are never resumed, as a resumed one would not
// look at the certificate again.
func downstreamTLS(trustDomain string) *corev3.TransportSocket {
	return downstreamOf(&matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: mesh.SPIFFEPrefix(trustDomain)},
	})
}

// downstreamOf accepts the SPIFFE IDs that match.
func downstreamOf(ids *matcherv3.StringMatcher) *corev3.TransportSocket {
	pin := uriPin(ids)
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.DownstreamTlsContext{
			CommonTlsContext:         commonTLS([]*tlsv3.SubjectAltNameMatcher{pin}),
			RequireClientCertificate: wrapperspb.Bool(true),
			SessionTicketKeysType: &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{
				DisableStatelessSessionResumption: true,
			},
			DisableStatefulSessionResumption: true,
		})},
	}
}

func uriPin(m *matcherv3.StringMatcher) *tlsv3.SubjectAltNameMatcher {
	return &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: m}
}

// commonTLS allows TLS 1.3 only: Envoy's client would stop at 1.2 by default.
func commonTLS(pins []*tlsv3.SubjectAltNameMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols:                  []string{protocolName},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{fromFile(identitySecret)},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: pins},
				ValidationContextSdsSecretConfig: fromFile(trustSecret),
			},
		},
	}
}

func fromFile(secret string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{
		Name: secret,
		SdsConfig: &corev3.ConfigSource{
			ResourceApiVersion: corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
				PathConfigSource: &corev3.PathConfigSource{
					Path:             "./" + secret + ".json",
					WatchedDirectory: &corev3.WatchedDirectory{Path: "."},
				},
			},
		},
	}
}
