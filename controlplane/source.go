package controlplane

import (
	"context"
	"net/http"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// source is where objects come from.
type source interface {
	// Watch signals when Reload may return something else, until ctx ends.
	Watch(ctx context.Context, changed chan<- struct{})
	// Await returns when Reload can return all that there is.
	Await(ctx context.Context) error
	// Reload returns all objects, with what is wrong with those that cannot be
	// read. With an error it returns the objects of before.
	Reload() (smi.Objects, []mesh.Problem, error)
	// Locate says where a problem is, empty where its object says it all.
	Locate(mesh.Problem) string
}

// folder is a source of manifests.
type folder struct {
	*files.Source
	dir string
}

func (f folder) Watch(ctx context.Context, changed chan<- struct{}) {
	files.Watch(ctx, f.dir, changed)
}

// Await returns at once: a folder is there, or Reload says that it is not.
func (f folder) Await(context.Context) error { return nil }

// open makes the source that the options name.
func (p *plane) open() error {
	if p.options.Kubernetes == nil {
		p.source = folder{files.NewSource(p.options.Source), p.options.Source}
		return nil
	}
	p.options.Settings.Kubernetes = true
	clients, err := kube.Connect(*p.options.Kubernetes)
	if err != nil {
		return err
	}
	p.clients, p.cluster = clients, kube.NewSource(clients, p.options.Log)
	p.source = p.cluster
	p.writer = kube.NewWriter(p.cluster, p.options.Kubernetes.Replica, p.unsettled, p.options.Log)
	return nil
}

// lead writes to the cluster whenever this replica is the one that does.
func (p *plane) lead(ctx context.Context) error {
	tasks := append([]func(context.Context){
		p.writer.Run, kube.Roots(p.cluster, p.authority.TrustBundle, p.options.Log),
	}, p.options.Leader...)
	return kube.Lead(ctx, p.clients, *p.options.Kubernetes, tasks...)
}

// unsettled is what sidecars refuse or have not taken yet, whichever replica serves
// them, on the objects that it was made of.
func (p *plane) unsettled(ctx context.Context) []mesh.Problem {
	s, underway := p.snapshot.Load(), p.underway.Load()
	if s == nil || underway == nil {
		return nil
	}
	proxies := p.peers.unsettled(ctx)
	return slices.Concat(refused(s, proxies), pending(proxies), *underway)
}

// healthHandler answers probes, and shows the control plane's own metrics. Ready means that the whole mesh was published
// once; it stays so, whatever becomes of the source: what is known serves on.
func (p *plane) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthy", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !p.published.Load() {
			http.Error(w, "nothing is published yet: not all objects have been read", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /metrics", p.tellGauges)
	return mux
}
