package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/frontproxy"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/prometheus"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/scrape"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
)

const (
	// What the chart calls the parts of the metrics API.
	metricsSecret     = "wasmesh-metrics-tls"
	metricsAPIService = metricsapi.Version + "." + metricsapi.Group
	// metricsFolder of the state holds what callers need outside of a cluster.
	metricsFolder = "metrics"
	maxAskers     = 256 // connections; an API server needs a few
)

// Metrics say whether and how traffic metrics are served.
type Metrics struct {
	// Plaintext: each sidecar also tells its metrics to everybody, at
	// mesh.PrometheusPort.
	Plaintext bool
	// Address is where they are; empty: nowhere, and no sidecar is asked for any.
	Address string
	// Prometheus is the URL of one that scrapes the sidecars; empty: the control
	// plane scrapes them itself, once in an Interval.
	Prometheus string
	Interval   time.Duration
}

// scraped reports whether sidecars are asked for their metrics.
func (m Metrics) scraped() bool { return m.Address != "" && m.Prometheus == "" }

// scraper is the identity that may read the metrics of sidecars.
func (p *plane) scraper() string {
	if !p.options.Metrics.scraped() {
		return ""
	}
	return ca.ControlPlaneID(p.options.Settings.TrustDomain)
}

// serveMetrics answers questions about traffic until ctx ends.
func (p *plane) serveMetrics(ctx context.Context, l net.Listener) error {
	source, err := p.keepSource(p.metricsSource(ctx))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	handler := api.Handler(api.Options{Mesh: p.measured, Source: source, Log: p.options.Log})
	config, handler, err := p.metricsDoor(ctx, handler, hosts(l))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{
		Handler: handler, TLSConfig: config, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: api.Timeout + 20*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: door.Failures(p.options.Log, "metrics API: a connection failed"),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.ServeTLS(door.Listen(l, maxAskers, maxAskers), "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics API on %s: %w", l.Addr(), err)
	}
	return nil
}

// metricsSource is Prometheus where there is one.
func (p *plane) metricsSource(ctx context.Context) (api.Source, error) {
	if p.options.Metrics.Prometheus != "" {
		return prometheus.New(p.options.Metrics.Prometheus)
	}
	if i := p.options.Metrics.Interval; i < time.Second || i > time.Minute {
		return nil, fmt.Errorf("metrics: %v between two scrapes; choose from 1s to 1m", i)
	}
	config, err := p.authority.CallerTLS()
	if err != nil {
		return nil, err
	}
	source := scrape.New(scrape.Options{
		Targets: p.scrapeTargets, TLS: config, Is: p.authority.IsWorkload, Interval: p.options.Metrics.Interval, Log: p.options.Log,
	})
	go source.Run(ctx)
	return source, nil
}

// measuredMesh is what has metrics in a snapshot.
type measuredMesh struct {
	of   *mesh.Snapshot
	made *smi.Objects
	mesh *metricsapi.Mesh
}

// measured is what has metrics, as of the last snapshot.
func (p *plane) measured() *metricsapi.Mesh {
	s, objects := p.snapshot.Load(), p.objects.Load()
	if s == nil || objects == nil {
		return nil
	}
	if known := p.metrics.Load(); known != nil && known.of == s && known.made == objects {
		return known.mesh
	}
	known := &measuredMesh{s, objects, metricsapi.MeshOf(*objects, s)}
	p.metrics.Store(known)
	return known.mesh
}

// scrapeTargets are the sidecars of the snapshot.
func (p *plane) scrapeTargets() []scrape.Target {
	m, s := p.measured(), p.snapshot.Load()
	if m == nil || s == nil {
		return nil
	}
	var out []scrape.Target
	for _, w := range s.Workloads {
		if peer, ok := m.PeerOf(w.Name); ok {
			at, why := s.ScrapeAt(w, mesh.ScrapePort)
			out = append(out, scrape.Target{Workload: w.Name, Peer: peer, Address: at, Cause: why})
		}
	}
	return out
}

// metricsDoor is who may ask: in a cluster the API server for others, else who has
// the token.
func (p *plane) metricsDoor(ctx context.Context, next http.Handler, hosts []string) (*tls.Config, http.Handler, error) {
	refuse := http.HandlerFunc(api.Unauthorized)
	if k := p.options.Kubernetes; k != nil {
		keeper, err := webhookcert.New(webhookcert.Options{
			Client: p.clients.Typed, Dynamic: p.clients.Dynamic, Namespace: k.Namespace, Secret: metricsSecret, APIService: metricsAPIService,
			Hosts: []string{fmt.Sprintf("%s.%s.svc", webhookService, k.Namespace)}, Life: p.options.WebhookLife, Log: p.options.Log,
		})
		if err != nil {
			return nil, nil, err
		}
		proxy := frontproxy.New(p.clients.Typed, p.options.Log)
		go keeper.Run(ctx)
		go proxy.Run(ctx)
		return proxy.TLS(keeper.TLS()), proxy.Require(refuse, next), nil
	}
	token, err := p.metricsToken()
	if err != nil {
		return nil, nil, err
	}
	config, err := p.authority.ServerTLS(hosts)
	return config, bearing(token, refuse, next), err
}

// metricsToken makes what callers need: a token and the roots, in the state.
func (p *plane) metricsToken() (string, error) {
	dir := filepath.Join(p.options.State, metricsFolder)
	if err := durable.Dir(dir); err != nil {
		return "", fmt.Errorf("metrics API: %w", err)
	}
	if err := durable.Write(filepath.Join(dir, "ca.crt"), p.authority.TrustBundle()); err != nil {
		return "", fmt.Errorf("metrics API: %w", err)
	}
	path := filepath.Join(dir, "token")
	found, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(found)); err == nil && len(token) >= 32 {
		return token, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("metrics API: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	token := base64.RawURLEncoding.EncodeToString(secret)
	if err := durable.Write(path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("metrics API: %w", err)
	}
	return token, nil
}

// bearing lets through who shows the token.
func bearing(token string, refuse, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(shown), []byte(token)) != 1 {
			refuse.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
