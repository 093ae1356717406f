package scrape_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/scrape"
)

// site is a mesh's authority and the sidecars that it vouches for.
type site struct {
	authority *ca.Authority
	mu        sync.Mutex
	targets   []scrape.Target
}

func newSite(t *testing.T) *site {
	t.Helper()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "state"), ca.Options{TrustDomain: "wasmesh.test"})
	if err != nil {
		t.Fatal(err)
	}
	return &site{authority: authority}
}

// sidecar serves with the certificate of a workload and is a target under the name
// of another, or its own.
func (s *site) sidecar(t *testing.T, holds, named string, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := ca.Identity{ServiceAccount: mesh.Name{Namespace: "shop", Name: "store"}, Workload: mesh.Name{Namespace: "shop", Name: holds}, Kind: ca.KindPod}
	leaf, err := s.authority.Issue(key.Public(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.Chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = append(s.targets, scrape.Target{Workload: mesh.Name{Namespace: "shop", Name: named}, Peer: peer(named), Address: netip.MustParseAddrPort(server.Listener.Addr().String())})
	return server
}

func peer(pod string) metricsapi.Peer {
	return metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: "store-v1", Pod: pod}
}

// run scrapes more than once a second.
func (s *site) run(t *testing.T) *scrape.Source {
	t.Helper()
	config, err := s.authority.CallerTLS()
	if err != nil {
		t.Fatal(err)
	}
	source := scrape.New(scrape.Options{
		Targets: func() []scrape.Target {
			s.mu.Lock()
			defer s.mu.Unlock()
			return append([]scrape.Target{}, s.targets...)
		},
		TLS: config, Is: s.authority.IsWorkload, Interval: 700 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("it does not end")
		}
	})
	return source
}

func traffic(t *testing.T, s *scrape.Source) metricsapi.Traffic {
	t.Helper()
	out, err := s.Traffic(t.Context(), api.Asked{Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// missing tells what is wrong with a pod.
func missing(t metricsapi.Traffic, pod string) string {
	for _, m := range t.Misses {
		if m.Pod == pod {
			return m.Cause
		}
	}
	return ""
}

// TestEachForItself has good sidecars beside those that hang, lie, babble or are no
// member: the good ones are read on time and whole, each other one says why it is not.
func TestEachForItself(t *testing.T) {
	text, err := os.ReadFile("../testdata/bookstore-v1.prom")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	var counted, looked atomic.Int64
	s.sidecar(t, "good", "good", func(w http.ResponseWriter, r *http.Request) {
		looked.Add(1)
		if r.URL.Path != scrape.Path || r.URL.Query().Get("filter") == "" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprint(w, strings.Replace(string(text), `"200"} 90`, fmt.Sprintf(`"200"} %d`, 90+counted.Load()), 1))
	})
	hang := make(chan struct{})
	defer close(hang)
	for range 36 { // more than are asked at once
		s.sidecar(t, "hanging", fmt.Sprintf("hanging-%d", len(s.targets)), func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		})
	}
	s.sidecar(t, "other", "liar", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, string(text)) })
	s.sidecar(t, "wrong", "wrong", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	s.sidecar(t, "refusing", "refusing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	s.sidecar(t, "babbling", "babbling", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("#\n", metricsapi.MaxScrape/2+1)))
	})
	s.sidecar(t, "moved", "moved", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://127.0.0.1:1/")
		w.WriteHeader(302)
	})
	s.mu.Lock()
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, string(text)) }))
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	stranger.StartTLS()
	defer stranger.Close()
	s.targets = append(s.targets,
		scrape.Target{Workload: mesh.Name{Namespace: "shop", Name: "stranger"}, Peer: peer("stranger"), Address: netip.MustParseAddrPort(stranger.Listener.Addr().String())},
		scrape.Target{Workload: mesh.Name{Namespace: "shop", Name: "nobody"}, Peer: peer("nobody"), Address: netip.MustParseAddrPort("127.0.0.1:1")},
		scrape.Target{Workload: mesh.Name{Namespace: "shop", Name: "shy"}, Peer: peer("shy"), Cause: "it does not want to"})
	s.mu.Unlock()
	source := s.run(t)
	want := map[string]string{
		"hanging-1": "in time", "hanging-36": "in time", "liar": "shop/other is at its address", "wrong": "text format", "refusing": "403", "babbling": "bytes",
		"moved": "302", "stranger": "could not be read", "nobody": "refused", "shy": "it does not want to",
	}
	var told metricsapi.Traffic
	defer func() {
		if t.Failed() {
			t.Logf("told: %+v", told.Misses)
		}
	}()
	await(t, "everybody was asked", func() bool {
		told = traffic(t, source)
		for pod := range want {
			if why := missing(told, pod); why == "" || why == "was not read yet" || !strings.HasPrefix(pod, "hanging") && strings.Contains(why, "in time") {
				return false
			}
		}
		return looked.Load() > 3
	})
	for pod, why := range want {
		if got := missing(told, pod); !strings.Contains(got, why) {
			t.Errorf("%s: %q, want %q", pod, got, why)
		}
	}
	before := success(told)
	counted.Add(7)
	began := time.Now()
	await(t, "seven more", func() bool { return success(traffic(t, source)) == before+7 })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v to read a good sidecar beside %d others", took, len(s.targets)-1)
	}
	if got := missing(traffic(t, source), "good"); strings.Contains(got, "could not") {
		t.Errorf("the good one: %s", got)
	}
	for _, f := range traffic(t, source).Flows {
		if f.Destination.Pod != "good" {
			t.Errorf("figures of %s", f.Destination.Pod)
		}
	}
	// Who is gone from the mesh is gone from the answers.
	s.mu.Lock()
	s.targets = s.targets[:1]
	s.mu.Unlock()
	await(t, "the others are forgotten", func() bool { return missing(traffic(t, source), "nobody") == "" })
}

func success(t metricsapi.Traffic) (n float64) {
	for _, f := range t.Flows {
		n += f.Success
	}
	return n
}
