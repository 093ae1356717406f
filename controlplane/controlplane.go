// Package controlplane runs the control plane: it ties the source of objects,
// which is a folder of manifests or a Kubernetes cluster, the authority, the
// modules and the xDS server together.
//
// It is wiring with one loop. It never decides what a manifest means or what a
// proxy is told: smi and xds do. When something is wrong, the last good state
// keeps serving and the problem is told.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe/receive"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	registry "github.com/wasmesh/wasmesh/wasm-registry/serve"
)

// Options say where everything is.
type Options struct {
	// Source is the folder of manifests; empty with Kubernetes.
	Source string
	// Kubernetes is the cluster to serve instead of a folder; nil for none.
	Kubernetes *kube.Options
	// Leader are tasks that one replica at a time runs, besides those of this
	// package; each ends with its context.
	Leader []func(context.Context)
	// State keeps the authority's key and the join tokens.
	State string
	// Module is the filter module's file; it is read again when it changes.
	Module string
	// Modules is the folder that keeps modules by digest.
	Modules string
	// Inspect judges modules; nil does it in this process.
	Inspect Inspect
	// XDS and Join are the addresses, host:port, for sidecars with and without a
	// certificate.
	XDS, Join string
	// Registry is the address at which sidecars fetch modules; empty for none.
	Registry string
	// Status is a Unix socket on which the state is told; empty for none.
	Status string
	// Peers is the address at which other replicas ask which sidecars this one
	// serves, and at whose port they are asked; empty for none.
	Peers string
	// Health is the address of the probes /ready and /healthy and of /metrics; empty for none.
	Health string
	// Webhook is the address of the validating webhook, which needs Kubernetes;
	// empty for none.
	Webhook string
	// WebhookLife is how long a certificate of the webhook lives;
	// webhookcert.DefaultLife if zero.
	WebhookLife time.Duration
	// Metrics is how traffic metrics are served.
	Metrics Metrics
	// AccessLog is the share of requests and connections that sidecars log, in percent
	// from 0, which is none, to 100.
	AccessLog float64
	// Tracing is where sidecars tell of requests.
	Tracing Tracing
	// Settings hold for the whole mesh.
	Settings smi.Settings
	// LeafLifetime is how long a workload's certificate lives.
	LeafLifetime time.Duration
	// InsecureRegistries are those, host:port, that may be on this machine and are
	// spoken to in the clear.
	InsecureRegistries []string
	// Authority is a folder with an intermediate authority that signs, as
	// cert-manager writes it: tls.crt, tls.key and ca.crt. Empty: the mesh has a root
	// of its own.
	Authority string
	// AlsoTrust is a file of PEM roots that workloads trust besides those that sign;
	// empty for none.
	AlsoTrust string
	// Now is the authority's clock; time.Now if nil.
	Now func() time.Time
	Log *slog.Logger
}

// Run serves until ctx ends. An error before it serves says what to mend.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := durable.Dir(o.State); err != nil { // before modules are put in it, which nobody need hide
		return fmt.Errorf("state: %w", err)
	}
	modules, err := openKeeper(o.Modules, o.State, o.Inspect, o.Log)
	if err != nil {
		return err
	}
	tracing, err := o.Tracing.settings()
	if err != nil {
		return err
	}
	if !(o.AccessLog >= 0 && o.AccessLog <= 100) {
		return fmt.Errorf("%v is no share of requests to log, in percent; take 0 to 100", o.AccessLog)
	}
	server := serve.New(o.Log)
	p := &plane{
		options: o, modules: modules, server: server, tracing: tracing,
		images: newImages(puller{manifests: o.Source, insecure: o.InsecureRegistries, store: modules.store, known: filepath.Join(o.State, "images")}.get, o.Log),
	}
	if err := p.open(); err != nil {
		return err
	}
	if err := p.openAuthority(); err != nil {
		return err
	}
	if err := p.openPeers(); err != nil {
		return err
	}
	p.catalog.Store(&catalog{replaced: make(chan struct{})})
	p.observed = receive.New(o.Settings.TrustDomain, serve.WorkloadOf, p.accountOf, o.Log)
	l, err := listen(ctx, o)
	if err != nil {
		return err
	}
	return p.run(ctx, cancel, l)
}

// listeners are open before anything starts, so that a taken address is told at
// once and plainly.
type listeners struct{ xds, join, status, registry, health, webhook, peers, metrics net.Listener }

// close is for the way back.
func (l listeners) close() error {
	var failures []error
	for _, one := range []net.Listener{l.xds, l.join, l.status, l.registry, l.health, l.webhook, l.peers, l.metrics} {
		if one != nil {
			failures = append(failures, one.Close())
		}
	}
	return errors.Join(failures...)
}

func listen(ctx context.Context, o Options) (listeners, error) {
	var l listeners
	var config net.ListenConfig
	for _, want := range []struct {
		what, address string
		into          *net.Listener
	}{{"xDS", o.XDS, &l.xds}, {"join", o.Join, &l.join}, {"registry", o.Registry, &l.registry}, {"health", o.Health, &l.health}, {"webhook", o.Webhook, &l.webhook}, {"peers", o.Peers, &l.peers}, {"metrics", o.Metrics.Address, &l.metrics}} {
		if want.address == "" && want.what != "xDS" && want.what != "join" {
			continue
		}
		opened, err := config.Listen(ctx, "tcp", want.address)
		if err != nil {
			return l, errors.Join(fmt.Errorf("%s address %s: %w; is another control plane running?", want.what, want.address, err), l.close())
		}
		*want.into = opened
	}
	if o.Status == "" {
		return l, nil
	}
	opened, err := listenStatus(ctx, o.Status)
	if err != nil {
		return l, errors.Join(err, l.close())
	}
	l.status = opened
	return l, nil
}

// run starts every part; the first that ends, ends the others.
func (p *plane) run(ctx context.Context, cancel context.CancelFunc, l listeners) error {
	xdsTLS, err := p.authority.MutualTLS(hosts(l.xds))
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	parts := []func() error{
		func() error { return p.server.Run(ctx) },
		func() error { return p.server.Serve(ctx, l.xds, xdsTLS, p.observed.Register) },
		func() error { return p.authority.Serve(ctx, l.join, hosts(l.join), p.joiner, p.options.Log) },
		func() error { p.source.Watch(ctx, changed); return nil },
		func() error { watchFile(ctx, p.options.Module, changed); return nil },
		func() error { p.followAuthority(ctx); return nil },
		func() error { return p.loop(ctx, changed) },
	}
	if l.registry != nil {
		registryTLS, err := p.authority.MutualTLS(hosts(l.registry))
		if err != nil {
			return err
		}
		registryTLS.NextProtos = []string{"http/1.1"}
		handler := registry.Handler(p.modules.store, p.member, p.references, p.options.Log)
		parts = append(parts, func() error { return registry.Serve(ctx, l.registry, registryTLS, handler, p.options.Log) })
	}
	if l.status != nil {
		parts = append(parts, func() error { return serveHTTP(ctx, l.status, p.statusHandler()) })
	}
	if l.health != nil {
		parts = append(parts, func() error { return serveHTTP(ctx, l.health, p.healthHandler()) })
	}
	if p.options.Kubernetes != nil {
		parts = append(parts, func() error { return p.lead(ctx) })
	}
	if l.webhook != nil {
		parts = append(parts, func() error { return p.validate(ctx, l.webhook) })
	}
	if l.peers != nil {
		parts = append(parts, func() error { return p.servePeers(ctx, l.peers) })
	}
	if l.metrics != nil {
		parts = append(parts, func() error { return p.serveMetrics(ctx, l.metrics) })
	}
	results := make(chan error, len(parts))
	for _, part := range parts {
		go func() { results <- part() }()
	}
	var failures []error
	for range parts {
		failures = append(failures, <-results)
		cancel()
	}
	return errors.Join(failures...)
}

// accountOf is the service account that a workload runs as.
func (p *plane) accountOf(workload mesh.Name) (mesh.Name, bool) {
	s := p.snapshot.Load()
	if s == nil {
		return mesh.Name{}, false
	}
	w, ok := s.Workload(workload)
	return w.ServiceAccount, ok
}

func hosts(l net.Listener) []string {
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil
	}
	return []string{host}
}

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", l.Addr(), err)
	}
	return nil
}
