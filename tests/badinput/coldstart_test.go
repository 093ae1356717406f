package badinput

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
	registry "github.com/wasmesh/wasmesh/wasm-registry/store"
)

// A control plane that starts with a bad module says so and serves none, and the
// Envoys that start with it deny.
func TestControlPlaneStartsWithoutAGoodModule(t *testing.T) {
	var said table
	defer func() { said.print(t) }()
	for _, v := range badModules(t) {
		t.Run(v.name, func(t *testing.T) {
			s := openShop(t, func(s *shop, o *rig.Options) {
				s.putModule(v.wasm)
				o.BadModule = true
			})
			s.problem(moduleTimeout, "Module wasmesh/filter", v.cause, "every sidecar denies until there is a good one", s.module)
			s.serves("")
			s.must(moduleTimeout, "the store's proxy to deny", s.answers(buyer, store, "/books", http.StatusForbidden))
			if seen := s.apps.count("store/books"); seen > 0 {
				t.Errorf("the application saw %d requests", seen)
			}
			said.row(v, s)
		})
	}
}

// Without a module there is no policy, and without a policy nothing passes.
func TestColdStartWithABadModuleDeniesAndHeals(t *testing.T) {
	s := openShop(t, func(s *shop, o *rig.Options) {
		s.putModule(stubborn(t, "panic"))
		o.BadModule = true
	})
	s.problem(moduleTimeout, "stubborn was built to panic", "every sidecar denies until there is a good one")
	s.must(moduleTimeout, "the store's proxy to accept", s.answers(buyer, store, "/books", http.StatusForbidden))
	before := s.deniedWithoutModule(t)
	const asked = 20
	for range asked {
		if err := s.answers(buyer, store, "/books", http.StatusForbidden)(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if denied := s.deniedWithoutModule(t) - before; denied != asked {
		t.Errorf("the store's own proxy denied %d requests of %d", denied, asked)
	}
	if seen := s.apps.count("store/books"); seen > 0 {
		t.Errorf("the application saw %d requests", seen)
	}
	s.notReady(t)
	s.putModule(goodModule(t))
	s.taken(registry.Digest(goodModule(t)))
	s.must(applyTimeout, "a request to pass", s.answers(buyer, store, "/books", http.StatusOK))
	s.must(applyTimeout, "the policy to deny", s.answers(buyer, store, "/admin", http.StatusForbidden))
	s.must(applyTimeout, "the gauge", s.gauge)
	s.noProblems(applyTimeout)
	if err := s.AwaitReady(store); err != nil {
		t.Error(err)
	}
}

// notReady wants the store's sidecar to say for what it waits, and to have
// announced nothing.
func (s *shop) notReady(t *testing.T) {
	t.Helper()
	ready, waiting, err := s.Admin(store).Ready(t.Context())
	if err != nil || ready || waiting != "the policy filter" {
		t.Errorf("ready is %v, waiting for %q, %v", ready, waiting, err)
	}
	said, err := s.SidecarLog(store)
	if err != nil || strings.Contains(said, "msg=ready") {
		t.Errorf("the sidecar announced itself ready: %v\n%s", err, said)
	}
}

// deniedWithoutModule is how often the filter that stands in for the module
// denied at the store.
func (s *shop) deniedWithoutModule(t *testing.T) uint64 {
	t.Helper()
	stats, err := s.Stats(t.Context(), store, `\.rbac\.denied$`)
	if err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for name, n := range stats {
		if strings.Contains(name, "inbound") {
			sum += n
		}
	}
	if len(stats) == 0 {
		t.Fatal("there is no such counter")
	}
	return sum
}
