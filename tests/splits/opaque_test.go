package splits

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// ledgerPort is opaque: the mesh does not know that HTTP is spoken there.
const ledgerPort = 16001

func splitLedger(rest string, weights ...any) string {
	return strings.Replace(splitBy("ledger", rest, weights...), "service: bookstore\n", "service: ledger\n", 1)
}

// opaque: on an opaque port each connection goes to one backend, by weight, and
// stays there; conditions have nothing to look at, so a split with some does not
// apply (smi-rules 79).
func opaque(t *testing.T, e *sidecars, risk float64) {
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	e.connectionsGo(t, "no split", "bookstore")
	e.relist(t, splitLedger("", "ledger-v1", 1, "ledger-v2", 0))
	e.connectionsGo(t, "weight 0", "bookstore-v1")
	old := e.connect(t)
	defer old.close()
	if got := e.at(t, old); got != "bookstore-v1" {
		t.Fatalf("a connection is at %q", got)
	}

	e.relist(t, splitLedger("", "ledger-v1", 3, "ledger-v2", 1))
	const n = 400
	counts := map[string]int{}
	for range n {
		conn := e.connect(t)
		counts[e.at(t, conn)]++
		conn.close()
	}
	fewest, most := acceptance(n, 0.75, risk)
	t.Logf("of %d connections %v, accepted at bookstore-v1 %d to %d (confidence 1-%.1g)", n, counts, fewest, most, risk)
	if k := counts["bookstore-v1"]; k < fewest || k > most || k+counts["bookstore-v2"] != n {
		t.Errorf("shares of 3 to 1 became %v", counts)
	}

	e.relist(t, splitLedger("", "ledger-v2", 1))
	e.connectionsGo(t, "another backend", "bookstore-v2")
	if got := e.at(t, old); got != "bookstore-v1" {
		t.Errorf("a connection that was open before the edits is at %q", got)
	}
	e.relist(t, splitLedger(onBeta, "ledger-v1", 1))
	e.connectionsGo(t, "conditions", "bookstore")
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
}

// relist edits the policy and waits for the caller's listener to change: the
// weights of an opaque port stand there, and no route tells of them.
func (e *sidecars) relist(t *testing.T, policy string) {
	t.Helper()
	const changes = `^listener_manager\.(listener_modified|listener_in_place_updated|total_listeners_warming|total_filter_chains_draining)$`
	sum := func(stats map[string]uint64) uint64 {
		return stats["listener_manager.listener_modified"] + stats["listener_manager.listener_in_place_updated"]
	}
	before, err := e.mesh.Stats(t.Context(), e.caller, changes)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.edit([]byte(policy)); err != nil {
		t.Fatal(err)
	}
	err = e.mesh.Await(applyTimeout, "the caller's listener to change", func(ctx context.Context) error {
		now, err := e.mesh.Stats(ctx, e.caller, changes)
		if err == nil && (sum(now) == sum(before) || now["listener_manager.total_listeners_warming"] > 0) {
			err = fmt.Errorf("it has not: %v", now)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// connect opens a connection to the ledger from the caller.
func (e *sidecars) connect(t *testing.T) *connection {
	t.Helper()
	caller, _ := e.empty.Workload(e.caller)
	service, ok := e.empty.Service(mesh.Name{Namespace: "bookstore", Name: "ledger"})
	if !ok {
		t.Fatal("the cast has no ledger")
	}
	conn, err := dial(t.Context(), netip.AddrPortFrom(caller.AddressOf(service), ledgerPort))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// at says which workload answers on a connection.
func (e *sidecars) at(t *testing.T, conn *connection) string {
	t.Helper()
	e.runs++
	run := fmt.Sprint(e.runs)
	status, _, err := conn.ask("GET / HTTP/1.1\r\nHost: ledger\r\n"+runHeader+": "+run+"\r\n\r\n", http.MethodGet)
	if err != nil || status != http.StatusOK {
		t.Fatalf("the answer is %d, %v", status, err)
	}
	for workload := range e.applications.seen(run) {
		return workload
	}
	return ""
}

// connectionsGo wants every one of fifty connections at one workload.
func (e *sidecars) connectionsGo(t *testing.T, what, workload string) {
	t.Helper()
	counts := map[string]int{}
	for range 50 {
		conn := e.connect(t)
		counts[e.at(t, conn)]++
		conn.close()
	}
	if !maps.Equal(counts, map[string]int{workload: 50}) {
		t.Errorf("%s: connections went to %v, want all at %s", what, counts, workload)
	}
}
