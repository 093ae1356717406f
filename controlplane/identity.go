package controlplane

import (
	"context"

	"github.com/wasmesh/wasmesh/controlplane/attest"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/secret"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// openAuthority loads or founds who signs: in a cluster its root is in a Secret
// that the replicas share, and pods prove themselves by their tokens.
func (p *plane) openAuthority() (err error) {
	o := ca.Options{
		TrustDomain: p.options.Settings.TrustDomain, LeafLifetime: p.options.LeafLifetime,
		External: p.options.Authority, AlsoTrust: p.options.AlsoTrust, Now: p.options.Now,
	}
	if p.options.Kubernetes != nil {
		o.Attest, o.Pods = attest.New(p.clients.Identity).Attest, p.pods
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

// pods are those with a sidecar.
func (p *plane) pods() (names []mesh.Name) {
	s := p.snapshot.Load()
	if s == nil {
		return nil
	}
	for _, w := range s.Workloads {
		if w.Kind == mesh.KindPod {
			names = append(names, w.Name)
		}
	}
	return names
}

// joiner is the service account of a workload that may join by a token: no pod
// does, even if it has the name for which somebody made one.
func (p *plane) joiner(workload mesh.Name) (mesh.Name, bool) {
	s := p.snapshot.Load()
	if s == nil {
		return mesh.Name{}, false
	}
	w, ok := s.Workload(workload)
	return w.ServiceAccount, ok && w.Kind != mesh.KindPod
}
