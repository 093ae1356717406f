package frontproxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi/frontproxy"
)

// authority signs.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front proxies"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key, cert}
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func (a authority) leaf(t *testing.T, name string, usage x509.ExtKeyUsage, life time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(life), ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestWhoGetsIn(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	said := func(change func(map[string]string)) map[string]string {
		data := map[string]string{
			"requestheader-client-ca-file": ours.pem(), "requestheader-allowed-names": `["front-proxy-client"]`,
			"requestheader-username-headers": `["X-Remote-User","X-Other-User"]`,
		}
		if change != nil {
			change(data)
		}
		return data
	}
	good := ours.leaf(t, "front-proxy-client", x509.ExtKeyUsageClientAuth, time.Hour)
	named := ours.leaf(t, "admin", x509.ExtKeyUsageClientAuth, time.Hour)
	user := http.Header{"X-Remote-User": {"jane"}}
	for name, c := range map[string]struct {
		data   map[string]string
		cert   *tls.Certificate
		header http.Header
		code   int // 0: no connection
	}{
		"the API server":         {said(nil), good, user, 200},
		"by the second header":   {said(nil), good, http.Header{"X-Other-User": {"jane"}}, 200},
		"any name":               {said(func(d map[string]string) { d["requestheader-allowed-names"] = "[]" }), named, user, 200},
		"for nobody":             {said(nil), good, nil, 401},
		"an empty user":          {said(nil), good, http.Header{"X-Remote-User": {""}}, 401},
		"another name":           {said(nil), named, user, 0},
		"another authority":      {said(nil), others.leaf(t, "front-proxy-client", x509.ExtKeyUsageClientAuth, time.Hour), user, 0},
		"a server's certificate": {said(nil), ours.leaf(t, "front-proxy-client", x509.ExtKeyUsageServerAuth, time.Hour), user, 0},
		"an old one":             {said(nil), ours.leaf(t, "front-proxy-client", x509.ExtKeyUsageClientAuth, -time.Minute), user, 0},
		"none":                   {said(nil), &tls.Certificate{}, user, 0},
		"nothing is known":       {nil, good, user, 0},
		"no authority":           {said(func(d map[string]string) { delete(d, "requestheader-client-ca-file") }), good, user, 0},
		"no headers":             {said(func(d map[string]string) { delete(d, "requestheader-username-headers") }), good, user, 0},
		"names that are no list": {said(func(d map[string]string) { d["requestheader-allowed-names"] = "front-proxy-client" }), good, user, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if code := knock(t, c.data, c.cert, c.header); code != c.code {
				t.Errorf("got %d, want %d", code, c.code)
			}
		})
	}
}

// knock asks a server that knows what data says, and tells its status, 0 for none.
func knock(t *testing.T, data map[string]string, cert *tls.Certificate, header http.Header) int {
	t.Helper()
	client := fake.NewClientset()
	if data != nil {
		client = fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"}, Data: data})
	}
	proxy := frontproxy.New(client, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); proxy.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	for end := time.Now().Add(5 * time.Second); len(client.Actions()) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })
	server := httptest.NewUnstartedServer(proxy.Require(refuse, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError)
	server.StartTLS()
	defer server.Close()
	asked := httptest.NewUnstartedServer(server.Config.Handler)
	asked.Config.ErrorLog = server.Config.ErrorLog
	asked.TLS = proxy.TLS(&tls.Config{Certificates: server.TLS.Certificates})
	asked.StartTLS()
	defer asked.Close()
	var code int
	for range 20 { // the first look may not be over
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, asked.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		caller := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
		}}}
		if response, err := caller.Do(r); err == nil {
			response.Body.Close()
			return response.StatusCode
		}
		time.Sleep(time.Millisecond)
	}
	return code
}
