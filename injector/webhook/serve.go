package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
)

// What the chart calls the parts of the injector.
const (
	service       = "wasmesh-injector"
	secret        = "wasmesh-injector-tls"
	configuration = "wasmesh-injector"
)

// Serving says where the webhook is.
type Serving struct {
	// Listen is where the API server asks, Health where the node asks for /ready
	// and /healthy; both host:port.
	Listen, Health string
	// Namespace is that of the injector.
	Namespace string
	Client    kubernetes.Interface
}

// Run serves until ctx ends. Before it is done it answers what it has been asked.
func Run(ctx context.Context, s Serving, o Options) error {
	if err := o.Settings.Validate(); err != nil {
		return err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("webhook address %s: %w", s.Listen, err)
	}
	health, err := config.Listen(ctx, "tcp", s.Health)
	if err != nil {
		return errors.Join(fmt.Errorf("health address %s: %w", s.Health, err), l.Close())
	}
	keeper := webhookcert.New(webhookcert.Options{
		Client: s.Client, Namespace: s.Namespace, Secret: secret, Mutating: configuration,
		Hosts: []string{fmt.Sprintf("%s.%s.svc", service, s.Namespace)}, Log: o.Log,
	})
	go keeper.Run(ctx)
	asked := Server(o)
	asked.TLSConfig = keeper.TLS()
	probed := &http.Server{Handler: healthHandler(keeper), ReadHeaderTimeout: askTimeout}
	ended := make(chan error, 2)
	go func() { ended <- asked.ServeTLS(l, "", "") }()
	go func() { ended <- probed.Serve(health) }()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	return errors.Join(err, asked.Shutdown(leave), probed.Close())
}

// healthHandler: ready means that the API server could be answered.
func healthHandler(k *webhookcert.Keeper) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthy", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !k.Ready() {
			w.Header().Set("Retry-After", fmt.Sprint(int(time.Second.Seconds())))
			http.Error(w, "there is no certificate that the API server knows yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}
