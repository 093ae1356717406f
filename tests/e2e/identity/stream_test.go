package identity

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

type stream = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient

func memberTLS(t *testing.T, m member) *tls.Config {
	t.Helper()
	config, err := ca.MemberTLS(m.key, m.Certificates, m.TrustBundle)
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	return config
}

// dial opens a stream as the member's Envoy would.
func dial(t *testing.T, r *replica, m member) stream {
	t.Helper()
	s, err := open(t, r, memberTLS(t, m))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, r *replica, config *tls.Config) (stream, error) {
	t.Helper()
	conn, err := grpc.NewClient(r.xds, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
}

// ask sends a first request of a type and returns the answer.
func ask(s stream, node, typeURL string, names ...string) (*discoveryv3.DeltaDiscoveryResponse, error) {
	request := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: node}, TypeUrl: typeURL, ResourceNamesSubscribe: names}
	if err := s.Send(request); err != nil && err != io.EOF {
		return nil, err
	}
	return s.Recv()
}

// two pods of two accounts in two namespaces, and a replica that has both in its
// mesh.
func two(t *testing.T) (r *replica, web, db *corev1.Pod) {
	t.Helper()
	r = start(t, system(t))
	web, db = newPod(t, newNamespace(t), "web-0", "web", nil), newPod(t, newNamespace(t), "db-0", "db", nil)
	r.publish(t, web.Namespace, db.Namespace)
	return r, web, db
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// X5: a proxy that says it is another is refused, and the log says so.
func TestX5NodeID(t *testing.T) {
	r, web, db := two(t)
	m := mustEnrol(t, r, good(t, web))
	for _, own := range []string{"", m.Workload.String()} {
		if answer, err := ask(dial(t, r, m), own, xds.ListenerType); err != nil || len(answer.GetResources()) == 0 {
			t.Errorf("node id %q: %d resources, %v", own, len(answer.GetResources()), err)
		}
	}
	for _, other := range []string{db.Namespace + "/db-0", db.Namespace + "/web-0", web.Namespace + "/db-0"} {
		_, err := ask(dial(t, r, m), other, xds.ListenerType)
		wantCode(t, other, err, codes.PermissionDenied)
		if !strings.Contains(r.log.String(), `"asked for"=`+other) {
			t.Errorf("the log does not tell of %s:\n%s", other, r.log)
		}
	}
}

// X6: secrets are served to nobody, by whatever name; X7: who asks for all filters
// gets its own.
func TestX6X7Names(t *testing.T) {
	r, web, db := two(t)
	m := mustEnrol(t, r, good(t, web))
	for _, name := range []string{"identity", "spiffe://" + trustDomain + "/ns/" + db.Namespace + "/sa/db", "*"} {
		_, err := ask(dial(t, r, m), "", secretType, name)
		wantCode(t, "secret "+name, err, codes.InvalidArgument)
	}
	for _, typeURL := range []string{xds.FilterType, xds.ListenerType, xds.ClusterType} {
		answer, err := ask(dial(t, r, m), "", typeURL, "*")
		if err != nil || len(answer.GetResources()) == 0 {
			t.Errorf("%s: %d resources, %v", typeURL, len(answer.GetResources()), err)
		}
		if strings.Contains(answer.String(), db.Namespace) || strings.Contains(answer.String(), db.Status.PodIP) {
			t.Errorf("%s: something of the other namespace", typeURL)
		}
	}
	theirs, err := ask(dial(t, r, mustEnrol(t, r, good(t, db))), "", xds.ListenerType, "*")
	if err != nil || !strings.Contains(theirs.String(), db.Status.PodIP) {
		t.Errorf("the twin does not get what the first must not: %v", err)
	}
}

// A pod that is deleted loses its stream, and gets nothing when it comes back; one
// that takes its name with another account is not served by the old certificate.
func TestStreamEndsWithThePod(t *testing.T) {
	r, web, db := two(t)
	old := mustEnrol(t, r, good(t, web))
	stays := dial(t, r, mustEnrol(t, r, good(t, db)))
	s := dial(t, r, old)
	for _, s := range []stream{s, stays} {
		if _, err := ask(s, "", xds.ListenerType); err != nil {
			t.Fatal(err)
		}
	}
	remove(t, web)
	r.publish(t, web.Namespace, db.Namespace)
	_, err := s.Recv()
	wantCode(t, "the pod is gone", err, codes.NotFound)
	answer, err := ask(dial(t, r, old), "", xds.ListenerType)
	if len(answer.GetResources()) != 0 {
		t.Errorf("a deleted pod gets %d listeners, %v", len(answer.GetResources()), err)
	}
	again := newPod(t, web.Namespace, "web-0", "other", nil)
	r.publish(t, web.Namespace, db.Namespace)
	_, err = ask(dial(t, r, old), "", xds.ListenerType)
	wantCode(t, "the old certificate", err, codes.PermissionDenied)
	if _, err := ask(dial(t, r, mustEnrol(t, r, good(t, again))), "", xds.ListenerType); err != nil {
		t.Errorf("the new pod: %v", err)
	}
	if _, err := ask(stays, "", xds.ClusterType); err != nil {
		t.Errorf("the pod that stays: %v", err)
	}
}

// A stranger, a certificate of the same names by another authority, and the
// control plane's own certificate get no stream.
func TestStrangersGetNoStream(t *testing.T) {
	r, web, _ := two(t)
	member := memberTLS(t, mustEnrol(t, r, good(t, web)))
	foreign := memberTLS(t, mustEnrol(t, start(t, system(t)), good(t, web)))
	own, err := r.authority.ServingCertificate([]string{"127.184.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		shown tls.Certificate
		want  codes.Code
	}{
		"a member": {member.Certificates[0], codes.OK}, "nobody": {tls.Certificate{}, codes.Unavailable},
		"another authority's": {foreign.Certificates[0], codes.Unavailable}, "the control plane": {own, codes.Unavailable},
	} {
		config := member.Clone()
		// Shown whatever the server says it accepts.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.shown, nil }
		s, err := open(t, r, config)
		if err == nil {
			_, err = ask(s, "", xds.ListenerType)
		}
		wantCode(t, what, err, c.want)
	}
}

// counted counts what is read from it.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// X10: a frame that says it has 1 GB is refused by its first bytes, and nobody
// else notices.
func TestX10HugeFrame(t *testing.T) {
	r, web, db := two(t)
	m := mustEnrol(t, r, good(t, web))
	honest := dial(t, r, mustEnrol(t, r, good(t, db)))
	if _, err := ask(honest, "", xds.ListenerType); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 30
	before := heap()
	header := binary.BigEndian.AppendUint32([]byte{0}, size)
	body := &counted{Reader: io.MultiReader(strings.NewReader(string(header)), io.LimitReader(zeros{}, size))}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+r.xds+"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	transport := &http.Transport{TLSClientConfig: memberTLS(t, m), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	response.Body.Close()
	code := response.Trailer.Get("Grpc-Status") + response.Header.Get("Grpc-Status")
	grown := int64(heap()) - int64(before)
	t.Logf("status %s after %d KB, heap grown by %d KB", code, body.n.Load()>>10, grown>>10)
	if code != "8" || body.n.Load() > 8<<20 || grown > 32<<20 {
		t.Errorf("status %q after %d bytes, heap grown by %d", code, body.n.Load(), grown)
	}
	if _, err := ask(honest, "", xds.ClusterType); err != nil {
		t.Errorf("another pod noticed: %v", err)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
