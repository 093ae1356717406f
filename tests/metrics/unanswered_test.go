package metrics

import (
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// TestUnanswered: what no application answered is told apart from what one did, by
// the sidecar that could not forward it, and by no other.
func TestUnanswered(t *testing.T) {
	c := start(t) // nothing listens where the store's application should
	call := func(address string) {
		t.Helper()
		for range 5 {
			response, err := http.Get("http://" + address + ":14001/")
			if err != nil || response.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%v %v, want 503", response, err)
			}
			response.Body.Close()
		}
	}
	counted := func(w mesh.Name) map[string]uint64 {
		t.Helper()
		stats, err := c.Stats(t.Context(), w, `^`+traffic.OwnScope+`\.`+traffic.LocalReplies)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range stats {
			if n == 0 {
				delete(stats, name)
			}
		}
		return stats
	}
	series := func(direction, destination, flags string) string {
		return strings.Join([]string{traffic.OwnScope, traffic.LocalReplies, "direction", direction, "destination", destination, "flags", flags}, ".")
	}
	expect := func(what string, w mesh.Name, want map[string]uint64) {
		t.Helper()
		if got := counted(w); !maps.Equal(got, want) {
			t.Errorf("%s: the sidecar of %s counted %v, want %v", what, w, got, want)
		}
	}
	// Each is tried three times: the store's sidecar says that its application never saw it.
	call("127.141.0.1")
	atStore := map[string]uint64{series("inbound", "shop/store:14001", "UF"): 15}
	expect("no application", store, atStore)
	expect("no application", buyer, map[string]uint64{})

	call("127.141.0.2")
	nobody := series("outbound", "shop/warehouse:14001", "UH")
	expect("nobody behind the service", buyer, map[string]uint64{nobody: 5})
	expect("nobody behind the service", store, atStore)

	if err := syscall.Kill(c.SidecarPID(store), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.await(t, "the store's sidecar is gone", func() bool {
		_, err := c.Stats(t.Context(), store, "server.uptime")
		return err != nil
	})
	call("127.141.0.1")
	expect("no sidecar", buyer, map[string]uint64{nobody: 5, series("outbound", "shop/store:14001", "URX,UF"): 5})
}
