package outages

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

type adsStream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

// types are those that a sidecar asks for.
var types = []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.FilterType, xds.RuntimeType}

// certificate is a valid one of a workload.
func (s *site) certificate(w mesh.Name) *tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	issued, err := s.authority.Issue(key.Public(), ca.Identity{ServiceAccount: w, Workload: w, Kind: ca.KindWorkload}, s.lifetime)
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(issued.Chain)
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

// connect makes a client of the xDS port; dial makes its connections.
func (s *site) connect(leaf *tls.Certificate, dial func(context.Context, string) (net.Conn, error)) *grpc.ClientConn {
	s.t.Helper()
	host, _, err := net.SplitHostPort(xdsAddress)
	if err != nil {
		s.t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool(), ServerName: host, Certificates: []tls.Certificate{*leaf}}
	config.RootCAs.AppendCertsFromPEM(s.authority.TrustBundle())
	options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}
	if dial != nil {
		options = append(options, grpc.WithContextDialer(dial))
	}
	conn, err := grpc.NewClient("passthrough:///"+xdsAddress, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

func openStream(ctx context.Context, conn *grpc.ClientConn) (adsStream, error) {
	return discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
}

// frozen is a connection that can stop reading, as a process does that is
// stopped: not even the transport's pings are answered any more.
type frozen struct {
	net.Conn
	once sync.Once
	ice  chan struct{} // closed: reading stops
	over chan struct{} // closed: the connection is closed
}

func freezable(ice chan struct{}) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		return &frozen{Conn: conn, ice: ice, over: make(chan struct{})}, err
	}
}

func (f *frozen) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	select {
	case <-f.ice:
		<-f.over
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.over) })
	return f.Conn.Close()
}

// editLatency is how late edits are in force, the median of an odd number.
func (s *site) editLatency(t *testing.T, rounds int) time.Duration {
	t.Helper()
	var all []time.Duration
	for i := range rounds {
		s.allow(allowedPath)
		s.must(applyTimeout, "an edit that takes a right away", answers("/extra", 403))
		if i == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		s.allow(allowedPath, "/extra")
		all = append(all, s.must(applyTimeout, "an edit that gives a right", answers("/extra", 200)))
	}
	return median(all)
}
