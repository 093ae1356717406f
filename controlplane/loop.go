package controlplane

import (
	"context"
	"sync/atomic"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/secret"
	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/observe/receive"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// plane is the control plane's state between two changes. The loop alone
// writes it; others read the snapshot and the problems.
type plane struct {
	options Options
	source  source
	// clients, cluster and writer are there with Kubernetes only.
	clients kube.Clients
	cluster *kube.Source
	writer  *kube.Writer
	// secret keeps the authority's root in a cluster.
	secret  *secret.Store
	modules *keeper
	// places are where filters stand that sidecars were given.
	places modules.Places
	// images are where users' filters come from.
	images *images
	server *serve.Server
	// authority is safe for concurrent use.
	authority *ca.Authority
	// shapes are what modules of filters call and answer, by digest.
	shapes map[string][]string
	// peers are the other replicas.
	peers *peers
	// tracing is where sidecars tell of requests.
	tracing xds.Tracing
	// observed is what sidecars saw; it has a lock of its own.
	observed *receive.Receiver
	// good is what the snapshot was made of.
	good     smi.Objects
	told     map[string]bool
	snapshot atomic.Pointer[mesh.Snapshot]
	// objects are those last read, whatever is wrong with them.
	objects  atomic.Pointer[smi.Objects]
	problems atomic.Pointer[[]mesh.Problem]
	// underway is what becomes of filters that have no effect yet.
	underway atomic.Pointer[[]mesh.Problem]
	digest   atomic.Pointer[string]
	catalog  atomic.Pointer[catalog]
	// metrics are what has any, as of some snapshot.
	metrics atomic.Pointer[measuredMesh]
	// traffic is where metrics come from; nil where they are not served.
	traffic atomic.Pointer[api.Source]
	// published is true once the whole mesh was published.
	published atomic.Bool
}

// loop makes every change, however many arrive at once, one pass over the whole
// input: there is one work key, and the queue of length one is the debouncer.
func (p *plane) loop(ctx context.Context, changed chan struct{}) error {
	defer p.modules.close()
	defer p.images.close()
	if err := p.source.Await(ctx); err != nil {
		return nil // only ctx ends it
	}
	for {
		if err := p.reload(ctx, changed); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// reload reads everything again and publishes what is good of it.
func (p *plane) reload(ctx context.Context, changed chan<- struct{}) error {
	objects, problems, err := p.source.Reload()
	if err != nil && p.snapshot.Load() == nil {
		return err
	}
	if err != nil { // then the objects are those of before
		problems = append(problems, mesh.Problem{
			Effect: mesh.Broken, Where: p.options.Source,
			Cause: err.Error() + "; what was read before stays in force.",
			Try:   "Bring the folder back, or make it readable.",
		})
	}
	snapshot, good, more := smi.Settle(p.good, objects, p.options.Settings)
	problems = append(problems, more...)
	p.good = good
	p.snapshot.Store(snapshot)
	p.objects.Store(&objects)
	wanted := append([]candidate{ownCandidate(p.options.Module, snapshot)}, p.filterCandidates(ctx, snapshot, changed)...)
	problems = append(problems, p.modules.step(ctx, wanted, changed)...)
	settings := p.settings(p.modules.book.Serving)
	digest := settings.Module
	p.digest.Store(&digest)
	p.tell(problems)
	p.list(snapshot, p.modules.book)
	if err := p.server.Publish(ctx, p.place(snapshot, wanted, changed), settings); err != nil {
		return nil // only ctx ends it
	}
	p.published.Store(true)
	p.options.Log.Info("published", "services", len(snapshot.Services), "workloads", len(snapshot.Workloads),
		"targets", targets(snapshot), "problems", len(problems), "module", short(digest))
	return nil
}

// settings are what the mesh shares when those modules serve.
func (p *plane) settings(serving map[string]modules.Use) xds.Settings {
	return xds.Settings{
		Module: serving[ownModule.String()].Digest, LeafLifetime: p.options.LeafLifetime, Filters: p.attached(serving),
		Scraper: p.scraper(), PlaintextMetrics: p.options.Metrics.Plaintext,
		AccessLog: p.options.AccessLog, Tracing: p.tracing,
	}
}

// tell logs each problem when it appears, once.
func (p *plane) tell(problems []mesh.Problem) {
	told := map[string]bool{}
	for i := range problems {
		if problems[i].Where == "" {
			problems[i].Where = p.source.Locate(problems[i])
		}
		line := problems[i].String()
		told[line] = true
		if !p.told[line] {
			p.options.Log.Warn("problem", "what", line)
		}
	}
	for line := range p.told {
		if !told[line] {
			p.options.Log.Info("problem solved", "what", line)
		}
	}
	p.told = told
	p.problems.Store(&problems)
	if p.writer != nil {
		p.writer.Tell(problems)
	}
}

func targets(s *mesh.Snapshot) int {
	n := 0
	for _, a := range s.Access {
		n += len(a.Grants)
	}
	return n
}

func short(digest string) string {
	if len(digest) < 12 {
		return "none"
	}
	return digest[:12]
}
