package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	// The type of a setting that is only read.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// What is granted, to every principal of a variant. Every decider says the
// same: this method, this path, these principals.
const (
	trustDomain   = "bench.example"
	namespace     = "bench"
	grantName     = namespace + "/buyers"
	grantedMethod = "GET"
	grantedPath   = "/books-bought"
	openPath      = "/open/"
)

// hostilePath is as long as a path reasonably gets, and is read in two ways.
// longPath is as long and has one.
var (
	hostilePath = openPath + strings.Repeat("a/w1q;", 8192/6)
	longPath    = openPath + strings.Repeat("w1q/", 8192/4)
)

var workload = mesh.Name{Namespace: namespace, Name: "bookstore"}

// account returns the service account of the i-th granted principal.
func account(i int) mesh.Name {
	return mesh.Name{Namespace: namespace, Name: fmt.Sprintf("bookbuyer-%05d", i)}
}

// principals returns the SPIFFE IDs a variant grants. Without certificates the
// one that calls is named by its address.
func principals(v variant) []string {
	ids := make([]string, v.principals)
	for i := range ids {
		ids[i] = mesh.SPIFFEID(trustDomain, account(i))
	}
	if v.wire == plaintext {
		ids[v.caller()] = mesh.SPIFFEID(trustDomain, mesh.Name{Namespace: namespace, Name: callerAddress})
	}
	return ids
}

// matches are the granted paths of a variant: the one that is asked for in the
// middle of others as a mesh has them, and one that is open at its end.
func matches(v variant) ([]policy.Match, error) {
	expressions := []string{grantedPath + "$"}
	if v.patterns > 1 {
		expressions = append(expressions, openPath)
	}
	for i := len(expressions); i < v.patterns; i++ {
		expressions = append(expressions, fmt.Sprintf("/catalogue-%04d/[^/]+/(books|maps)/[0-9]+$", i))
	}
	middle := len(expressions) / 2
	expressions[0], expressions[middle] = expressions[middle], expressions[0]
	var out []policy.Match
	for i, expr := range expressions {
		path, err := pattern.Path(expr)
		if err != nil {
			return nil, err
		}
		out = append(out, policy.Match{Name: fmt.Sprintf("books/%04d", i), Path: path, Methods: []string{grantedMethod}})
	}
	return out, nil
}

// snapshot is a mesh of one workload, whose sidecar accepts at address, in front
// of an application at backend.
func snapshot(v variant, address netip.Addr, backend netip.AddrPort) (*mesh.Snapshot, error) {
	granted, err := matches(v)
	if err != nil {
		return nil, err
	}
	return &mesh.Snapshot{
		TrustDomain: trustDomain,
		Workloads: []mesh.Workload{{
			Name:           workload,
			ServiceAccount: workload,
			Address:        address,
			Application:    backend.Addr(),
			Ports:          []mesh.WorkloadPort{{Port: backend.Port(), Name: "http", Protocol: mesh.HTTP1}},
		}},
		Access: []mesh.Access{{
			ServiceAccount: workload,
			Grants: []policy.Grant{{
				Name:    grantName,
				Sources: principals(v),
				Ports:   []policy.PortRange{policy.EveryPort()},
				Matches: granted,
			}},
		}},
	}, nil
}

// bootstrap is the sidecar of a variant as one static configuration: what the
// control plane builds, with everything discovered put in its place. It also
// returns the protocol that callers must name in the TLS handshake.
func bootstrap(v variant, s *mesh.Snapshot, id identities) (*bootstrapv3.Bootstrap, string, error) {
	built := xds.Build(s, workload, xds.Settings{Module: v.module})
	listener, err := single[*listenerv3.Listener](built, xds.ListenerType)
	if err != nil {
		return nil, "", err
	}
	cluster, err := single[*clusterv3.Cluster](built, xds.ClusterType)
	if err != nil {
		return nil, "", err
	}
	chain := listener.GetFilterChains()[0]
	protocol := ""
	if v.wire == mutualTLS {
		if protocol, err = inlineTLS(chain.TransportSocket, id); err != nil {
			return nil, "", err
		}
	} else {
		chain.TransportSocket = nil
	}
	if err := place(chain, v, built[xds.FilterType]); err != nil {
		return nil, "", err
	}
	config, err := envoySettings()
	if err != nil {
		return nil, "", err
	}
	config.StaticResources = &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{listener},
		Clusters:  []*clusterv3.Cluster{cluster},
	}
	return config, protocol, nil
}

// envoySettings is what a sidecar tells Envoy besides its resources: limits,
// metric labels, how memory is given back.
func envoySettings() (*bootstrapv3.Bootstrap, error) {
	text, err := sidecar.Bootstrap(sidecar.Config{
		Workload: workload.String(), ServiceAccount: workload.String(), TrustDomain: trustDomain,
		XDS: "127.0.0.1:1", RunDir: "/run",
	})
	if err != nil {
		return nil, err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("the sidecar's start configuration: %w", err)
	}
	// These lead to a control plane and to files, of which there are none.
	for _, name := range []string{"admin", "dynamic_resources", "layered_runtime", "static_resources"} {
		delete(settings, name)
	}
	rest, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	config := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(rest, config); err != nil {
		return nil, fmt.Errorf("the sidecar's start configuration: %w", err)
	}
	return config, nil
}

// single returns the only resource of a type.
func single[M proto.Message](r xds.Resources, typeURL string) (M, error) {
	var found M
	if n := len(r[typeURL]); n != 1 {
		return found, fmt.Errorf("the control plane built %d resources of type %s, not 1", n, typeURL)
	}
	for _, m := range r[typeURL] {
		var ok bool
		if found, ok = m.(M); !ok {
			return found, fmt.Errorf("the resource of type %s is a %T", typeURL, m)
		}
	}
	return found, nil
}

// inlineTLS puts certificates where the configuration names files.
func inlineTLS(socket *corev3.TransportSocket, id identities) (protocol string, err error) {
	context := &tlsv3.DownstreamTlsContext{}
	if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
		return "", err
	}
	common := context.GetCommonTlsContext()
	if len(common.GetAlpnProtocols()) != 1 {
		return "", fmt.Errorf("the inbound side speaks %d protocols, not 1", len(common.GetAlpnProtocols()))
	}
	common.TlsCertificateSdsSecretConfigs = nil
	common.TlsCertificates = []*tlsv3.TlsCertificate{{
		CertificateChain: inline(id.server.chain),
		PrivateKey:       inline(id.server.key),
	}}
	validation := common.GetCombinedValidationContext().GetDefaultValidationContext()
	if validation == nil {
		return "", fmt.Errorf("the inbound side does not say whom it accepts")
	}
	validation.TrustedCa = inline(id.roots)
	common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	config, err := anypb.New(context)
	socket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: config}
	return common.AlpnProtocols[0], err
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}
