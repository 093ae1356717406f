package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// Source is a cluster that is watched. All methods may be called at any time.
type Source struct {
	clients  Clients
	log      *slog.Logger
	supplies []*supply
	// news has room for one signal: any number of changes is one.
	news chan struct{}
	// complete is closed when all that there is has been seen once.
	complete chan struct{}
	once     sync.Once
	// generations are those of our own objects in the last Reload.
	mu          sync.Mutex
	generations map[mesh.Object]int64
}

// NewSource returns a source that has seen nothing yet; Watch makes it see.
func NewSource(clients Clients, log *slog.Logger) *Source {
	s := &Source{clients: clients, log: log, news: make(chan struct{}, 1), complete: make(chan struct{})}
	for _, f := range feeds() {
		s.supplies = append(s.supplies, newSupply(f, clients, log, s.signal))
	}
	return s
}

func (s *Source) signal() {
	if s.isComplete() {
		s.once.Do(func() { close(s.complete) })
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Watch signals on changed what may have changed the mesh, until ctx ends.
func (s *Source) Watch(ctx context.Context, changed chan<- struct{}) {
	var all sync.WaitGroup
	for _, p := range s.supplies {
		all.Go(func() { p.run(ctx) })
	}
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}

// Await returns when all that there is has been seen once: before that, what is
// known is only a part. It fails only when ctx ends.
func (s *Source) Await(ctx context.Context) error {
	select {
	case <-s.complete:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Source) isComplete() bool {
	return !slices.ContainsFunc(s.supplies, func(p *supply) bool { return !p.settled() })
}

// Reload returns all objects as they are known now, and what is wrong with them
// or with the watching. Before Await has returned it fails.
func (s *Source) Reload() (smi.Objects, []mesh.Problem, error) {
	select {
	case <-s.complete:
	default:
		return smi.Objects{}, nil, fmt.Errorf("kubernetes: not everything has been listed yet")
	}
	var values []wire.Object
	problems, generations := s.troubles(), map[mesh.Object]int64{}
	for _, p := range s.supplies {
		p.shelf.each(func(name mesh.Name, i item) {
			if p.feed.hasStatus() {
				generations[mesh.Object{Kind: p.feed.kind, Name: name}] = i.generation
			}
			if i.value != nil {
				values = append(values, i.value)
			}
			problems = append(problems, i.problems...)
		})
	}
	s.mu.Lock()
	s.generations = generations
	s.mu.Unlock()
	slices.SortFunc(problems, func(a, b mesh.Problem) int { return strings.Compare(a.String(), b.String()) })
	return wire.Assemble(values), problems, nil
}

// Locate says where an object stands that has a problem: nowhere but in the
// cluster, where its name is enough.
func (s *Source) Locate(mesh.Problem) string { return "" }

// supplyOf returns what holds a kind.
func (s *Source) supplyOf(kind string) *supply {
	for _, p := range s.supplies {
		if p.feed.kind == kind {
			return p
		}
	}
	return nil
}

// reference is how others name an object that is known, such as an event.
func (s *Source) reference(o mesh.Object) (corev1.ObjectReference, bool) {
	p := s.supplyOf(o.Kind)
	if p == nil {
		return corev1.ObjectReference{}, false
	}
	i, ok := p.shelf.get(o.Name)
	return corev1.ObjectReference{
		APIVersion: p.apiVersion(), Kind: o.Kind, Namespace: o.Name.Namespace, Name: o.Name.Name, UID: i.uid,
	}, ok
}

// reloaded returns the generations of our own objects in the last Reload.
func (s *Source) reloaded() map[mesh.Object]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generations
}

// optedIn lists the namespaces whose pods are to get sidecars, sorted.
func (s *Source) optedIn() []string {
	var out []string
	s.supplyOf(smi.KindNamespace).shelf.each(func(name mesh.Name, i item) {
		if i.value.GetLabels()[smi.InjectLabel] == smi.InjectEnabled && i.value.GetDeletionTimestamp() == nil {
			out = append(out, name.Name)
		}
	})
	slices.Sort(out)
	return out
}
