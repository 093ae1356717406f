// Package metrics asks a control plane for the traffic metrics of two workloads with
// real sidecars, as a client would outside of Kubernetes, and knocks at the door at
// which sidecars tell their metrics.
//
// It must never leave a process behind, and never believe an answer that the
// sidecars' own counters do not support.
package metrics

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metricsv1alpha1 "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const trustDomain = "wasmesh.test"

var (
	programs rig.Programs
	buyer    = mesh.Name{Namespace: "shop", Name: "buyer"}
	store    = mesh.Name{Namespace: "shop", Name: "store"}
)

func TestMain(m *testing.M) {
	os.Exit(rig.Main("metrics", filepath.Join("..", ".."), &programs, m.Run))
}

// caller asks the metrics API of a mesh.
type caller struct {
	*rig.Mesh
	client *http.Client
	token  string
}

func start(t *testing.T) *caller {
	t.Helper()
	m, err := rig.Start(context.Background(), rig.Options{
		Manifests: "testdata", Settings: smi.Settings{TrustDomain: trustDomain, Mode: policy.Enforce},
		Workloads: []mesh.Name{buyer, store}, Programs: programs, Metrics: true, PlaintextMetrics: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := m.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(m.StateFolder(), "metrics")
	roots, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatalf("no certificate in %q", roots)
	}
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token may be read by others: %v %v", info.Mode(), err)
	}
	return &caller{m, &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, strings.TrimSpace(string(token))}
}

// ask returns status, warnings and body.
func (c *caller) ask(t *testing.T, token, path string) (int, []string, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.MetricsAddress()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Values("Warning"), body
}

const base = "/apis/metrics.smi-spec.io/v1alpha1"

// TestOutsideOfKubernetes: sidecars are scraped, an idle one is told as idle, one that
// is gone as missing, and who has no token learns nothing.
func TestOutsideOfKubernetes(t *testing.T) {
	c := start(t)
	item := func(path string) (out metricsv1alpha1.TrafficMetrics, warnings []string) {
		code, warnings, body := c.ask(t, c.token, base+path)
		if err := json.Unmarshal(body, &out); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v %s", path, code, err, body)
		}
		return out, warnings
	}
	c.await(t, "both are read", func() bool {
		_, store := item("/namespaces/shop/workloads/store?t=2s")
		_, buyer := item("/namespaces/shop/workloads/buyer?t=2s")
		return len(store)+len(buyer) == 0
	})
	got, _ := item("/namespaces/shop/workloads/store?t=2s")
	if got.Interval.Window.Duration != 2*time.Second || got.Get("success_count").Value.Value() != 0 || got.Labels["app"] != "store" {
		t.Errorf("%+v", got)
	}
	for _, token := range []string{"", c.token + "x", c.token[1:]} {
		code, _, body := c.ask(t, token, base+"/namespaces/shop/workloads/store")
		var status metav1.Status
		if err := json.Unmarshal(body, &status); err != nil || code != http.StatusUnauthorized || status.Reason != metav1.StatusReasonUnauthorized {
			t.Errorf("%q: %d %s", token, code, body)
		}
	}
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.StatusSocket())
	}}}
	for query, want := range map[string]int{"t=2s": 200, "": 400, "t=0s": 400, "t=8760h": 400} {
		response, err := socket.Get("http://controlplane/traffic?" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("traffic at the status socket, %q: %s", query, response.Status)
		}
	}
	t.Run("the door of a sidecar", func(t *testing.T) { door(t, c) })
	t.Run("the door for everybody", openDoor)
	t.Run("a sidecar that hangs", func(t *testing.T) { hang(t, c, item) })
}

func (c *caller) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// hang stops the process of one Envoy: its workload is partial, and says so, the
// other is not, and both are told at once.
func hang(t *testing.T, c *caller, item func(string) (metricsv1alpha1.TrafficMetrics, []string)) {
	resume := c.freeze(t, store)
	c.await(t, "the store is missing", func() bool {
		began := time.Now()
		got, warnings := item("/namespaces/shop/workloads/store?t=2s")
		if time.Since(began) > time.Second {
			t.Errorf("the answer took %v", time.Since(began))
		}
		return len(warnings) == 1 && got.Annotations[metricsapi.PartialAnnotation] != ""
	})
	c.await(t, "the buyer is told beside it", func() bool {
		_, buyer := item("/namespaces/shop/workloads/buyer?t=2s")
		_, store := item("/namespaces/shop/workloads/store?t=2s")
		return len(buyer) == 0 && len(store) == 1
	})
	resume()
	c.await(t, "the store is read again", func() bool {
		_, warnings := item("/namespaces/shop/workloads/store?t=2s")
		return len(warnings) == 0
	})
}

// door knocks at the sidecar of the store as the control plane, as a member of the
// mesh and as a stranger.
func door(t *testing.T, c *caller) {
	authority, err := ca.Open(c.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	config, err := authority.CallerTLS()
	if err != nil {
		t.Fatal(err)
	}
	own := config.GetClientCertificate
	knock := func(certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error), method, path string) (int, string) {
		config.GetClientCertificate = certificate
		client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), method, "https://127.41.0.2:15090"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	if code, body := knock(own, http.MethodGet, "/stats/prometheus?filter=server.uptime"); code != 200 || !strings.Contains(body, metricsapi.Uptime+"{} ") {
		t.Errorf("the control plane gets %d %.300s", code, body)
	}
	if _, err := metricsapi.ReadScrape([]byte(second(knock(own, http.MethodGet, "/stats/prometheus")))); err != nil {
		t.Errorf("a whole scrape: %v", err)
	}
	for _, request := range forbidden() {
		if code, body := knock(own, request[0], request[1]); code == 200 {
			t.Errorf("%v is answered: %.200s", request, body)
		}
	}
	for name, certificate := range map[string]func(*tls.CertificateRequestInfo) (*tls.Certificate, error){
		"a member": member(t, authority), "a stranger": func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil },
	} {
		if code, body := knock(certificate, http.MethodGet, "/stats/prometheus"); code != 0 {
			t.Errorf("%s gets %d %.200s", name, code, body)
		}
	}
}

// forbidden is what no door leads to.
func forbidden() [][2]string {
	return [][2]string{
		{"POST", "/quitquitquit"}, {"GET", "/quitquitquit"}, {"GET", "/config_dump"}, {"GET", "/"}, {"GET", "/stats"},
		{"GET", "/stats/prometheus/../../config_dump"}, {"GET", "/stats/prometheus%2f..%2fconfig_dump"}, {"POST", "/stats/prometheus"},
		{"GET", "//stats/prometheus/.."}, {"GET", "/certs"},
	}
}

// openDoor knocks as anybody.
func openDoor(t *testing.T) {
	knock := func(method, path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://127.41.0.2:15091"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	if code, body := knock(http.MethodGet, "/stats/prometheus"); code != 200 || !strings.Contains(body, "wasmesh_policy_version{} ") {
		t.Errorf("anybody gets %d %.300s", code, body)
	}
	for _, request := range forbidden() {
		if code, body := knock(request[0], request[1]); code == 200 || code == 0 {
			t.Errorf("%v is answered %d: %.200s", request, code, body)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// member has the certificate of the buyer.
func member(t *testing.T, authority *ca.Authority) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: buyer, Workload: buyer, Kind: ca.KindWorkload}, 0)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.Chain, pemOf(der))
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
}
