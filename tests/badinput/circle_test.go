package badinput

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// Two splits that send to each other's root, and one that sends to its own: a
// backend is a service's own endpoints, so no request goes round (smi-rules 69,
// 70), and nothing is wrong with them.
func TestSplitsInACircle(t *testing.T) {
	s := openShop(t, func(_ *shop, o *rig.Options) { o.Workloads = []mesh.Name{buyer, store, printer} })
	circle, err := os.ReadFile(filepath.Join("testdata", "circle.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.edit("circle.yaml", string(circle))
	for _, other := range []struct {
		dialled mesh.Name
		path    string
		status  int
	}{
		{store, "/print", http.StatusOK}, {printer, "/books", http.StatusOK}, {tray, "/books", http.StatusOK},
		// Access is judged where a request arrives, not where it was sent to.
		{store, "/books", http.StatusForbidden}, {printer, "/print", http.StatusForbidden}, {tray, "/print", http.StatusForbidden},
	} {
		s.must(applyTimeout, "the splits", s.answers(buyer, other.dialled, other.path, other.status))
	}
	s.noProblems(applyTimeout)
	s.must(applyTimeout, "every proxy to have taken them", s.healthy)

	books, prints := s.apps.count("store/books"), s.apps.count("printer/print")
	const asked = 20
	for range asked {
		if err := errors.Join(
			s.answers(buyer, store, "/print", http.StatusOK)(t.Context()),
			s.answers(buyer, printer, "/books", http.StatusOK)(t.Context()),
			s.answers(buyer, tray, "/books", http.StatusOK)(t.Context()),
		); err != nil {
			t.Fatal(err)
		}
	}
	if b, p := s.apps.count("store/books")-books, s.apps.count("printer/print")-prints; b != 2*asked || p != asked {
		t.Errorf("the store saw %d requests and the printer %d, want %d and %d", b, p, 2*asked, asked)
	}
	if err := os.Remove(filepath.Join(s.folder, "circle.yaml")); err != nil {
		t.Fatal(err)
	}
	s.must(applyTimeout, "the store's own requests", s.answers(buyer, store, "/books", http.StatusOK))
	s.must(applyTimeout, "the printer's own requests", s.answers(buyer, printer, "/print", http.StatusOK))
}
