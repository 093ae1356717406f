package badinput

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

type adsStream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

// A certificate opens the configuration of its own workload and no other's.
func TestSidecarCannotAskForAnothersConfiguration(t *testing.T) {
	s, authority := openOffice(t)
	leaf := leafOf(t, authority, buyer, time.Hour)

	own := s.dial(t, authority, leaf)
	ask := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ListenerType, Node: &corev3.Node{Id: buyer.String()}}
	answer, err := exchange(own, ask)
	if err != nil || len(answer.GetResources()) == 0 {
		t.Fatalf("the buyer does not get its own configuration: %v", err)
	}
	// The name of another is refused, at the beginning and later.
	for _, stream := range []adsStream{s.dial(t, authority, leaf), own} {
		ask.Node = &corev3.Node{Id: store.String()}
		if _, err := exchange(stream, ask); status.Code(err) != codes.PermissionDenied {
			t.Errorf("the buyer asked for the store's configuration and got %v", err)
		}
	}
	s.logged("asked for another's configuration and was refused", "proxy=shop/buyer", "shop/store")

	// Without a name it is the buyer's, whatever the buyer would like.
	ask.Node = nil
	answer, err = exchange(s.dial(t, authority, leaf), ask)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.GetResources() {
		if r.GetName() == "inbound|8081" {
			t.Error("the buyer got the store's listener")
		}
	}
}

// Who has no certificate of this mesh does not get past the handshake.
func TestStrangersDoNotGetPastTheHandshake(t *testing.T) {
	s, authority := openOffice(t)
	foreign, err := ca.Open(t.TempDir()+"/state", ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	ask := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ListenerType, Node: &corev3.Node{Id: buyer.String()}}
	for name, leaf := range map[string]*tls.Certificate{
		"without a certificate":          nil,
		"with that of another root":      leafOf(t, foreign, buyer, time.Hour),
		"with one that expired":          expiredLeaf(t, authority),
		"with that of no workload":       controlPlaneLeaf(t, authority),
		"with a key that is not its own": mismatched(t, authority),
	} {
		answer, err := exchange(s.dial(t, authority, leaf), ask)
		code := status.Code(err)
		if err == nil || code != codes.Unavailable && code != codes.PermissionDenied {
			t.Errorf("%s: %v resources, %v", name, len(answer.GetResources()), err)
		}
		t.Logf("%s: %v", name, err)
	}
	seen, err := s.Status(t.Context())
	if err != nil || len(seen.Proxies) > 0 {
		t.Errorf("a stranger is connected: %+v, %v", seen.Proxies, err)
	}
}

// A stream does not outlive the certificate that opened it.
func TestStreamEndsWithItsCertificate(t *testing.T) {
	s, authority := openOffice(t)
	const lifetime = 3 * time.Second
	leaf := leafOf(t, authority, buyer, lifetime)
	expires := leaf.Leaf.NotAfter
	stream := s.dial(t, authority, leaf)
	ask := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: xds.ListenerType, Node: &corev3.Node{Id: buyer.String()}}
	if _, err := exchange(stream, ask); err != nil {
		t.Fatal(err)
	}
	_, err := stream.Recv()
	if late := time.Since(expires); status.Code(err) != codes.Unauthenticated || late < 0 || late > time.Second {
		t.Errorf("the stream ended %v after its certificate, with %v", late, err)
	}
	s.must(applyTimeout, "the control plane to forget the stream", func(ctx context.Context) error {
		seen, err := s.Status(ctx)
		if err == nil && len(seen.Proxies) > 0 {
			err = context.DeadlineExceeded
		}
		return err
	})
	if _, err := exchange(s.dial(t, authority, leaf), ask); err == nil {
		t.Error("an expired certificate opened a stream")
	}
}

// dial opens a delta ADS stream; nil is no certificate.
func (s *shop) dial(t *testing.T, authority *ca.Authority, leaf *tls.Certificate) adsStream {
	t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority.TrustBundle())
	if leaf != nil {
		// Given to whatever authority the server asks for: that is its affair.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil }
	}
	conn, err := grpc.NewClient(s.XDSAddress(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	t.Cleanup(cancel)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return brokenStream{err: err}
	}
	return stream
}

// brokenStream answers everything with the error that kept it from opening.
type brokenStream struct {
	adsStream
	err error
}

func (b brokenStream) Send(*discoveryv3.DeltaDiscoveryRequest) error { return b.err }

// exchange sends one request and returns the next answer.
func exchange(stream adsStream, ask *discoveryv3.DeltaDiscoveryRequest) (*discoveryv3.DeltaDiscoveryResponse, error) {
	if b, broken := stream.(brokenStream); broken {
		return nil, b.err
	}
	if err := stream.Send(ask); err != nil {
		_, err = stream.Recv() // the stream's own end says more
		return nil, err
	}
	return stream.Recv()
}

func leafOf(t *testing.T, authority *ca.Authority, w mesh.Name, lifetime time.Duration) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	issued, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: w, Workload: w, Kind: ca.KindWorkload}, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(issued.Chain)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: parsed}
}

// expiredLeaf was good until a moment ago.
func expiredLeaf(t *testing.T, authority *ca.Authority) *tls.Certificate {
	t.Helper()
	leaf := leafOf(t, authority, buyer, time.Second)
	wait, cancel := context.WithDeadline(t.Context(), leaf.Leaf.NotAfter.Add(time.Second))
	defer cancel()
	<-wait.Done()
	return leaf
}

// controlPlaneLeaf is signed by the mesh and names no workload.
func controlPlaneLeaf(t *testing.T, authority *ca.Authority) *tls.Certificate {
	t.Helper()
	leaf, err := authority.ServingCertificate([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return &leaf
}

// mismatched is somebody's certificate in the hands of somebody else.
func mismatched(t *testing.T, authority *ca.Authority) *tls.Certificate {
	t.Helper()
	leaf := leafOf(t, authority, buyer, time.Hour)
	leaf.PrivateKey = newKey(t)
	return leaf
}
