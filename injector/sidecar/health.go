package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// healthTimeout bounds what a caller may take to ask and to be answered.
	healthTimeout = 5 * time.Second
	// maxHealth bounds the connections to each of the two servers: the kubelet
	// needs a handful, and anybody in the cluster can dial them.
	maxHealth = 64
)

// health tells a kubelet how the sidecar is.
type health struct {
	admin Admin
	// lack is why the sidecar has no certificate; nil while it has one.
	lack *atomic.Pointer[string]
	// stopping ends when the sidecar was asked to.
	stopping context.Context
	shared   shared
}

// ServeHTTP answers /healthy while the process runs, and /ready while the filters
// are active and it was not asked to stop.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthy":
	case "/ready":
		if waiting := h.waiting(r.Context()); waiting != "" {
			http.Error(w, "not ready: "+waiting, http.StatusServiceUnavailable)
		}
	default:
		http.NotFound(w, r)
	}
}

func (h *health) waiting(ctx context.Context) string {
	if h.stopping.Err() != nil {
		return "it is stopping"
	}
	if lack := h.lack.Load(); lack != nil {
		return *lack
	}
	_, err, _ := h.shared.ask(ctx, "envoy", h.envoy)
	if err != nil {
		return err.Error()
	}
	return ""
}

// envoy does not end with who asks, as others may wait for the same.
func (h *health) envoy() (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	ready, waiting, err := h.admin.Ready(ctx)
	switch {
	case err != nil:
		return 0, errors.New("envoy has not started") // why is told in the log, not to anybody who asks
	case ready:
		return 0, nil
	}
	return 0, errors.New("waiting for " + waiting)
}

// serveHealth and the probes serve from before the sidecar joins until it has
// ended, so that a kubelet gets a reason and not a refused connection. close ends
// both.
func (o Options) serveHealth(h *health) (close func(), err error) {
	var servers []*http.Server
	close = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	for _, s := range []struct {
		address string
		handler http.Handler
		// wait is how long an answer may take; 0: as long as the asker waits.
		wait time.Duration
	}{{o.Health, h, healthTimeout}, {o.Probes, &prober{actions: o.AppProbes, pod: o.PodIP}, 0}} {
		if s.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", s.address)
		if err != nil {
			close()
			return nil, fmt.Errorf("health: %w", err)
		}
		server := &http.Server{
			Handler: s.handler, ReadHeaderTimeout: healthTimeout, ReadTimeout: healthTimeout, WriteTimeout: s.wait,
			MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		}
		server.SetKeepAlivesEnabled(false)
		servers = append(servers, server)
		go func() {
			if err := server.Serve(&limited{Listener: listener, most: maxHealth}); !errors.Is(err, http.ErrServerClosed) {
				o.Log.Error("health is not answered any more", "address", s.address, "err", err)
			}
		}()
	}
	return close, nil
}
