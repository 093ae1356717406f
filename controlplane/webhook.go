package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/wasmesh/wasmesh/controlplane/admission"
	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/webhookcert"
)

// What the chart calls the parts of the validating webhook.
const (
	webhookService       = "wasmesh-controlplane"
	webhookSecret        = "wasmesh-webhook-tls"
	webhookConfiguration = "wasmesh-controlplane"
)

// validate answers the API server about objects that somebody writes. It says
// nothing of what objects refer to before all have been read once.
func (p *plane) validate(ctx context.Context, l net.Listener) error {
	if p.options.Kubernetes == nil {
		return errors.Join(errors.New("a validating webhook needs a cluster; give --kubernetes, or no --webhook"), l.Close())
	}
	namespace := p.options.Kubernetes.Namespace
	keeper, err := webhookcert.New(webhookcert.Options{
		Client: p.clients.Typed, Namespace: namespace, Secret: webhookSecret, Validating: webhookConfiguration,
		Hosts: []string{fmt.Sprintf("%s.%s.svc", webhookService, namespace)}, Life: p.options.WebhookLife, Log: p.options.Log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	settings := p.options.Settings
	settings.Kubernetes = true
	server := admission.Server(admission.Options{Settings: settings, Log: p.options.Log,
		Objects: func() (smi.Objects, bool) {
			objects := p.objects.Load()
			if objects == nil {
				return smi.Objects{}, false
			}
			return *objects, true
		}})
	server.TLSConfig = keeper.TLS()
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	go keeper.Run(keeping)
	finished := make(chan error, 1)
	context.AfterFunc(ctx, func() { finished <- review.Finish(server) })
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("webhook %s: %w", l.Addr(), err)
	}
	return <-finished
}
