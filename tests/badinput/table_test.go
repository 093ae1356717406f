package badinput

import (
	"context"
	"net/http"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// table prints what became of each kind of bad module, for people.
type table struct {
	t      *testing.T
	what   string
	headed bool
}

// row looks at real Envoys, and fails where one heard of the module or has
// ended.
func (w *table) row(v variant, s *shop) {
	s.t.Helper()
	if !w.headed {
		w.headed = true
		s.t.Logf("%-16s | %-22s | %-22s | %-22s | answer", "module "+w.what, "control plane", "buyer's Envoy", "store's Envoy")
	}
	var said []string
	for _, proxy := range []mesh.Name{buyer, store} {
		stats, err := s.Stats(s.t.Context(), proxy, `(update_rejected|config_fail)$`)
		if err != nil {
			s.t.Fatal(err)
		}
		refused := uint64(0)
		for _, n := range stats {
			refused += n
		}
		if refused > 0 || len(stats) == 0 {
			s.t.Errorf("%s: the Envoy of %s refused %d updates (%v)", v.name, proxy, refused, stats)
		}
		said = append(said, "heard nothing of it")
	}
	status, err := s.ask(context.Background(), buyer, store, "/books")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%-16s | %-22s | %-22s | %-22s | %d %s", v.name, "refused: "+v.cause, said[0], said[1], status, http.StatusText(status))
}
