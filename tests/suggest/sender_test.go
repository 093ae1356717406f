package suggest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	entryv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// What a sidecar tells is about itself, whatever node it claims to be: no
// workload writes another's policy.
func TestTheSenderIsWhoItsCertificateSays(t *testing.T) {
	s := withoutSidecars(t)
	authority, err := ca.Open(s.mesh.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	stream := s.dial(authority, leafOf(t, authority, buyer, time.Hour))
	if err := stream.Send(message(store)); err != nil {
		t.Fatal(err)
	}
	s.awaitObserved(1)
	seen, _, err := s.observed(t.Context())
	if o := seen.Report.Observations[0]; err != nil || o.Destination != buyer || o.Source != thief || o.Path != "/books" || o.Port != 80 {
		t.Errorf("observed %+v, %v", o, err)
	}

	strangers := map[string]*tls.Certificate{"without a certificate": nil}
	serving, err := authority.ServingCertificate([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	strangers["the control plane's own"] = &serving
	foreign, err := ca.Open(t.TempDir()+"/state", ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	strangers["of another root"] = leafOf(t, foreign, buyer, time.Hour)
	for name, leaf := range strangers {
		stream := s.dial(authority, leaf)
		_ = stream.Send(message(buyer)) // the answer says more
		if _, err := stream.CloseAndRecv(); status.Code(err) != codes.Unavailable && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}

	// A stream does not outlive the certificate that opened it.
	leaf := leafOf(t, authority, buyer, 3*time.Second)
	stream = s.dial(authority, leaf)
	if err := stream.Send(message(buyer)); err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(new(accesslogv3.StreamAccessLogsResponse))
	if late := time.Since(leaf.Leaf.NotAfter); status.Code(err) != codes.Unauthenticated || late < 0 || late > 2*time.Second {
		t.Errorf("the stream ended %v after its certificate, with %v", late, err)
	}
	s.awaitObserved(2) // none of the strangers' was kept
}

// withoutSidecars is a control plane that knows the workloads, of which none runs.
func withoutSidecars(t *testing.T) *shop {
	s := &shop{t: t, watched: t.TempDir()}
	s.copy(filepath.Join("..", "..", "examples", "bookstore", "services.yaml"), filepath.Join(s.watched, "services.yaml"))
	s.copy(filepath.Join("testdata", "workloads.yaml"), filepath.Join(s.watched, "workloads.yaml"))
	// Nobody runs the module, and looking into one takes long.
	without := programs
	without.Module = filepath.Join(t.TempDir(), "none.wasm")
	err := os.WriteFile(without.Module, []byte("none"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if s.mesh, err = rig.Start(t.Context(), rig.Options{Manifests: s.watched, Settings: settings(), Programs: without, BadModule: true}); err != nil {
		t.Fatal(err)
	}
	s.await(applyTimeout, "the workloads to be known", func(ctx context.Context) error {
		status, err := s.mesh.Status(ctx)
		if err == nil && len(status.Problems) == 0 {
			err = errors.New("the folder has not been read")
		}
		return err
	})
	t.Cleanup(func() {
		if err := s.mesh.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// message is a batch of one request from the thief, of a sidecar that claims to
// be a node.
func message(node mesh.Name) *accesslogv3.StreamAccessLogsMessage {
	san := &entryv3.TLSProperties_CertificateProperties_SubjectAltName{
		San: &entryv3.TLSProperties_CertificateProperties_SubjectAltName_Uri{Uri: mesh.SPIFFEID(trustDomain, thief)},
	}
	entry := &entryv3.TCPAccessLogEntry{CommonProperties: &entryv3.AccessLogCommon{
		AccessLogType: entryv3.AccessLogType_DownstreamEnd, UpstreamRemoteAddress: &corev3.Address{},
		TlsProperties: &entryv3.TLSProperties{PeerCertificateProperties: &entryv3.TLSProperties_CertificateProperties{
			SubjectAltName: []*entryv3.TLSProperties_CertificateProperties_SubjectAltName{san},
		}},
		CustomTags: map[string]string{observe.TagPort: "80", observe.TagMethod: "GET", observe.TagPath: "/books", observe.TagCode: "200"},
	}}
	return &accesslogv3.StreamAccessLogsMessage{
		Identifier: &accesslogv3.StreamAccessLogsMessage_Identifier{Node: &corev3.Node{Id: node.String()}, LogName: observe.LogName},
		LogEntries: &accesslogv3.StreamAccessLogsMessage_TcpLogs{
			TcpLogs: &accesslogv3.StreamAccessLogsMessage_TCPAccessLogEntries{LogEntry: []*entryv3.TCPAccessLogEntry{entry}},
		},
	}
}

type logStream = grpc.ClientStreamingClient[accesslogv3.StreamAccessLogsMessage, accesslogv3.StreamAccessLogsResponse]

// dial opens a stream as Envoy does; nil is no certificate.
func (s *shop) dial(authority *ca.Authority, leaf *tls.Certificate) logStream {
	s.t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority.TrustBundle())
	if leaf != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil }
	}
	conn, err := grpc.NewClient(s.mesh.XDSAddress(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(s.t.Context(), answerTimeout)
	s.t.Cleanup(cancel)
	stream, err := accesslogv3.NewAccessLogServiceClient(conn).StreamAccessLogs(ctx)
	if err != nil {
		return brokenStream{err: err}
	}
	return stream
}

// brokenStream answers everything with the error that kept it from opening.
type brokenStream struct {
	logStream
	err error
}

func (b brokenStream) Send(*accesslogv3.StreamAccessLogsMessage) error { return b.err }

func (b brokenStream) CloseAndRecv() (*accesslogv3.StreamAccessLogsResponse, error) {
	return nil, b.err
}

func (b brokenStream) RecvMsg(any) error { return b.err }

func leafOf(t *testing.T, authority *ca.Authority, w mesh.Name, lifetime time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: w, Workload: w, Kind: ca.KindWorkload}, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(issued.Chain)
	if block == nil {
		t.Fatal(errors.New("the chain is not PEM"))
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: parsed}
}
