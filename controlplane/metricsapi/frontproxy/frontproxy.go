// Package frontproxy lets the API server of a cluster in, and nobody else: it passes
// on the requests to an aggregated API, after it has found out who asks and whether
// they may.
//
// Who that is, is written in the ConfigMap extension-apiserver-authentication of
// kube-system, as for every aggregated API. The package never takes a header for
// an identity on a connection without that certificate, never decides itself who
// may ask what, and lets nobody in while it does not know whom.
package frontproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	namespace = "kube-system"
	configMap = "extension-apiserver-authentication"
	// interval is between two looks; impatient until the first was of use.
	interval  = 30 * time.Second
	impatient = time.Second
)

// trust is what the ConfigMap says.
type trust struct {
	roots *x509.CertPool
	// names are those that the certificate may have; none: any.
	names []string
	// users are the headers of which the first tells who asks.
	users []string
}

// Proxy knows the API server.
type Proxy struct {
	client kubernetes.Interface
	log    *slog.Logger
	trust  atomic.Pointer[trust]
}

// New knows nobody until Run.
func New(client kubernetes.Interface, log *slog.Logger) *Proxy {
	return &Proxy{client: client, log: log}
}

// Run keeps up with the ConfigMap until ctx ends. While it cannot be read, what it
// said last holds.
func (p *Proxy) Run(ctx context.Context) {
	failed := ""
	for ctx.Err() == nil {
		err := p.look(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != failed {
			p.log.Warn("metrics API: the cluster does not say how its API server is known; it is tried again", "reason", err)
		}
		if failed = ""; err != nil {
			failed = err.Error()
		}
		wait := interval
		if p.trust.Load() == nil {
			wait = impatient
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (p *Proxy) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := p.client.CoreV1().ConfigMaps(namespace).Get(ctx, configMap, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, configMap, err)
	}
	read, err := parse(found.Data)
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", namespace, configMap, err)
	}
	p.trust.Store(read)
	return nil
}

// parse reads the ConfigMap's data. Without an authority nobody could be known.
func parse(data map[string]string) (*trust, error) {
	t := &trust{roots: x509.NewCertPool()}
	if !t.roots.AppendCertsFromPEM([]byte(data["requestheader-client-ca-file"])) {
		return nil, errors.New("requestheader-client-ca-file has no certificate: the API server runs without an aggregation layer")
	}
	for key, into := range map[string]*[]string{"requestheader-allowed-names": &t.names, "requestheader-username-headers": &t.users} {
		if text := data[key]; text != "" {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return nil, fmt.Errorf("%s is no list of texts: %w", key, err)
			}
		}
	}
	if len(t.users) == 0 {
		return nil, errors.New("requestheader-username-headers names no header")
	}
	return t, nil
}

// TLS demands the API server's certificate of everybody, beside what serving says.
func (p *Proxy) TLS(serving *tls.Config) *tls.Config {
	config := serving.Clone()
	config.ClientAuth = tls.RequireAnyClientCert
	config.SessionTicketsDisabled = true
	config.VerifyConnection = func(s tls.ConnectionState) error { return p.verify(s.PeerCertificates, time.Now()) }
	return config
}

// verify wants a chain to the authority of front proxies, and one of the names.
func (p *Proxy) verify(chain []*x509.Certificate, now time.Time) error {
	t := p.trust.Load()
	if t == nil {
		return errors.New("it is not known yet how the API server is known")
	}
	if len(chain) == 0 {
		return errors.New("there is no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return err
	}
	if len(t.names) > 0 && !slices.Contains(t.names, chain[0].Subject.CommonName) {
		return fmt.Errorf("the name %.100q is not one of the API server's", chain[0].Subject.CommonName)
	}
	return nil
}

// Require lets a request through that tells whom the API server has let ask.
func (p *Proxy) Require(refuse, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := p.trust.Load()
		known := t != nil && r.TLS != nil && slices.ContainsFunc(t.users, func(h string) bool { return r.Header.Get(h) != "" })
		if !known {
			refuse.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
