package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
	"github.com/wasmesh/wasmesh/injector/inject"
)

// What the chart calls the parts of the webhook.
const (
	service       = "wasmesh-injector"
	secret        = "wasmesh-injector-tls"
	configuration = "wasmesh-injector"
)

// Options are what an injector is started with.
type Options struct {
	Client kubernetes.Interface
	// Namespace is the injector's own, where the Secret is.
	Namespace string
	// Listen and Health are addresses; an empty Health is none.
	Listen, Health string
	Settings       inject.Settings
	// CertificateLife is how long a certificate of the webhook lives;
	// webhookcert.DefaultLife if zero.
	CertificateLife time.Duration
	Log             *slog.Logger
}

// Run answers until ctx ends, and then finishes what is open.
func Run(ctx context.Context, o Options) error {
	keeper, err := webhookcert.New(webhookcert.Options{
		Client: o.Client, Namespace: o.Namespace, Secret: secret, Mutating: configuration,
		Hosts: []string{fmt.Sprintf("%s.%s.svc", service, o.Namespace)}, Life: o.CertificateLife, Log: o.Log,
	})
	if err != nil {
		return err
	}
	handler := New(o.Settings, o.Log)
	server := Server(handler)
	server.TLSConfig = keeper.TLS()
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	failed := make(chan error, 2)
	serve := func(run func() error, what string) {
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("%s: %w", what, err)
		}
	}
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); keeper.Run(keeping) }()
	defer func() { stopKeeping(); <-kept }()
	go serve(func() error { return server.ServeTLS(listener, "", "") }, "webhook "+o.Listen)
	health := healthServer(ctx, o.Health, keeper.Ready, handler)
	if o.Health != "" {
		go serve(health.ListenAndServe, "health "+o.Health)
	}
	defer health.Close()
	o.Log.Info("injecting", "listen", listener.Addr(), "image", o.Settings.Image)
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	return review.Finish(server)
}

// healthServer tells the kubelet, and shows the counters. A replica that is told
// to end is not ready, but answers for a while.
func healthServer(ctx context.Context, address string, ready func() bool, h *Handler) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthy", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case ctx.Err() != nil:
			http.Error(w, "it ends", http.StatusServiceUnavailable)
		case !ready():
			http.Error(w, "the API server does not know the certificate yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = h.counters.Write(w)
	})
	return &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: review.AskTimeout, WriteTimeout: review.AskTimeout}
}
