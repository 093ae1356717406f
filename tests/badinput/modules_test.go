package badinput

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	registry "github.com/wasmesh/wasmesh/wasm-registry/store"
)

// A module that does not start is an update that does not happen: the old one
// answers every request meanwhile, and a good one is taken afterwards.
func TestBadModuleUpdatesLeaveTheOldOneServing(t *testing.T) {
	s := openShop(t, nil)
	bad, other := badModules(t), otherModule(t)
	old := registry.Digest(goodModule(t))
	l := s.startLoad()
	var said table
	defer func() { said.print(t) }()
	for _, v := range bad {
		s.putModule(v.wasm)
		s.problem(moduleTimeout, "Module wasmesh/filter", v.cause, "the module before it keeps serving", s.module)
		s.serves(old)
		said.row(v, s)
		l.before++ // the row asked too
	}
	s.putModule(other)
	s.taken(registry.Digest(other))
	s.noProblems(applyTimeout)
	// The policy still runs, and can still be changed.
	s.must(applyTimeout, "the gauge of the new module", s.gauge)
	l.stop(t)
	s.exchange("access.yaml", "/books$", "/novels$")
	s.must(applyTimeout, "an edit under the new module", s.answers(buyer, store, "/novels", http.StatusOK))
	s.must(applyTimeout, "a revocation under the new module", s.answers(buyer, store, "/books", http.StatusForbidden))
	s.must(applyTimeout, "the gauge after the edit", s.gauge)
}

// A module that loops keeps an inspector busy, not the mesh: a revocation does
// not wait for it.
func TestPolicyDoesNotWaitForAModule(t *testing.T) {
	s := openShop(t, nil)
	s.putModule(stubborn(t, "loop"))
	s.logged("a module is being inspected", s.module)
	s.exchange("access.yaml", "/books$", "/novels$")
	s.must(applyTimeout, "a revocation", s.answers(buyer, store, "/books", http.StatusForbidden))
	status, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Problems) > 0 {
		t.Fatalf("the module was judged before the edit applied, which proves nothing: %q", status.Problems)
	}
	// One that replaces it does not wait for it either.
	s.putModule(otherModule(t))
	s.taken(registry.Digest(otherModule(t)))
}

// A file that is written in place is, for a moment, half a module.
func TestModuleWrittenInPlace(t *testing.T) {
	s := openShop(t, nil)
	other := otherModule(t)
	l := s.startLoad()
	s.putModule(other[:len(other)/3])
	s.problem(moduleTimeout, "truncated")
	s.putModule(other)
	s.taken(registry.Digest(other))
	l.stop(t)
}

// gauge returns nil once the store's filter reports the policy of the folder.
func (s *shop) gauge(ctx context.Context) error {
	snapshot := *s.snapshot()
	w, ok := snapshot.Workload(store)
	if !ok {
		return errors.New("the store is not in the folder")
	}
	snapshot.Workloads = []mesh.Workload{w} // the others have no sidecar
	return s.Applied(ctx, &snapshot)
}

// serves fails unless digest is what the mesh runs.
func (s *shop) serves(digest string) {
	s.t.Helper()
	status, err := s.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if status.Module != digest {
		s.t.Fatalf("the module is %.12s, want %.12s", status.Module, digest)
	}
	for _, p := range status.Proxies {
		if len(p.Refusals) > 0 {
			s.t.Fatalf("%s heard of it: %+v", p.Name, p.Refusals)
		}
	}
}

// taken waits until the store's Envoy runs the module of that digest.
func (s *shop) taken(digest string) {
	s.t.Helper()
	s.must(moduleTimeout, "the new module", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		p, err := proxyOf(status, store)
		if err != nil {
			return err
		}
		if status.Module != digest || !p.Settled {
			return errors.New("it is not acknowledged")
		}
		return s.Runs(ctx, store, digest)
	})
}
