package controlplane

import (
	"context"

	"github.com/wasmesh/wasmesh/controlplane/attest"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/secret"
)

// openAuthority loads or founds who signs: in a cluster its root is in a Secret
// that the replicas share, and pods prove themselves by their tokens.
func (p *plane) openAuthority() (err error) {
	o := ca.Options{
		TrustDomain: p.options.Settings.TrustDomain, LeafLifetime: p.options.LeafLifetime,
		External: p.options.Authority, Now: p.options.Now,
	}
	if p.options.Kubernetes != nil {
		o.Attest = attest.New(p.clients.Identity).Attest
		p.secret = secret.New(p.clients.Identity, p.options.Kubernetes.Namespace)
		o.Roots = p.secret
	}
	p.authority, err = ca.Open(p.options.State, o)
	return err
}

// followAuthority takes up what other replicas, or an external authority, do.
func (p *plane) followAuthority(ctx context.Context) {
	changed := make(chan struct{}, 1)
	if p.secret != nil && p.options.Authority == "" {
		go p.secret.Watch(ctx, changed)
	}
	p.authority.Follow(ctx, changed, p.options.Log)
}
