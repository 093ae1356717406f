package badinput

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// table says what became of each kind of bad module, for people.
type table struct{ rows []string }

// print shows it as one.
func (w *table) print(t *testing.T) {
	t.Logf("\n%s\n%s", fmt.Sprintf(tableRow, "module", "the control plane refused it as", "buyer's Envoy", "store's Envoy", "a request"), strings.Join(w.rows, "\n"))
}

const tableRow = "%-18s | %-32s | %-13s | %-13s | %s"

// row looks at real Envoys, and fails where one heard of the module.
func (w *table) row(v variant, s *shop) {
	s.t.Helper()
	said := map[mesh.Name]string{}
	for _, proxy := range []mesh.Name{buyer, store} {
		stats, err := s.Stats(s.t.Context(), proxy, `extension_config_discovery.*update_rejected$`)
		if err != nil {
			s.t.Fatal(err)
		}
		if proxy == store && len(stats) == 0 {
			s.t.Errorf("%s: the Envoy of %s has no place for a filter", v.name, proxy)
		}
		said[proxy] = "never told"
		for name, n := range stats {
			if n > 0 {
				said[proxy] = "refused it"
				s.t.Errorf("%s: the Envoy of %s heard of it: %s is %d", v.name, proxy, name, n)
			}
		}
	}
	status, err := s.ask(context.Background(), buyer, store, "/books")
	if err != nil {
		s.t.Fatal(err)
	}
	w.rows = append(w.rows, fmt.Sprintf(tableRow, v.name, v.cause, said[buyer], said[store], fmt.Sprint(status, " ", http.StatusText(status))))
}
