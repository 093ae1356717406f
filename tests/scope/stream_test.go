package scope

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// join opens a workload's stream with a certificate of its own, asks for
// everything, and takes everything it is sent.
func (s *street) join(name mesh.Name) {
	s.t.Helper()
	conn, err := grpc.NewClient(s.XDSAddress(), grpc.WithTransportCredentials(credentials.NewTLS(s.credentials(name))))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.FilterType, xds.RuntimeType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			s.t.Fatal(err)
		}
	}
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				return // the test is over
			}
			ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()}
			if stream.Send(ack) != nil {
				return
			}
		}
	}()
}

// credentials are what a sidecar of that workload has.
func (s *street) credentials(name mesh.Name) *tls.Config {
	s.t.Helper()
	authority, err := ca.Open(s.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: name, Workload: name, Kind: ca.KindWorkload}, ca.DefaultLeafLifetime)
	if err != nil {
		s.t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(s.XDSAddress())
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(leaf.Chain)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool(), ServerName: host,
		Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}},
	}
	config.RootCAs.AppendCertsFromPEM(authority.TrustBundle())
	return config
}
