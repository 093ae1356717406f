package splits

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// liveDraws are the outcomes of this file that chance decides.
const liveDraws = 3

// playLive edits splits under a running mesh, and judges what happens meanwhile.
func playLive(t *testing.T, e *sidecars, risk float64) {
	t.Run("like the proxy", func(t *testing.T) { likeTheProxy(t, e) })
	t.Run("edits under load", func(t *testing.T) { underLoad(t, e) })
	t.Run("oldest wins", func(t *testing.T) { oldestWins(t, e) })
	t.Run("a backend appears", func(t *testing.T) { backendAppears(t, e, risk) })
	t.Run("opaque", func(t *testing.T) { opaque(t, e, risk) })
}

// splitBy writes a split of bookstore.
func splitBy(name, rest string, weights ...any) string {
	text := "---\napiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: " + name + ", namespace: bookstore}\nspec:\n  service: bookstore\n  backends:\n"
	for i := 0; i < len(weights); i += 2 {
		text += fmt.Sprintf("  - {service: %s, weight: %d}\n", weights[i], weights[i+1])
	}
	return text + rest
}

const onBeta = "  matches: [{kind: HTTPRouteGroup, name: beta}]\n---\napiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\n" +
	"metadata: {name: beta, namespace: bookstore}\nspec: {matches: [{name: all, pathRegex: /books}]}\n"

// live is the call of this file.
func live(t *testing.T, e *sidecars) call {
	t.Helper()
	r, err := parseRequest("bookbuyer -> bookstore:14001 GET /books 200 x bookstore 100%")
	if err != nil {
		t.Fatal(err)
	}
	c, err := callOf(e.empty, r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expect sends the live call and wants all of it at one workload.
func expect(t *testing.T, e *sidecars, workload string) {
	t.Helper()
	c := live(t, e)
	counts, err := e.ask(t.Context(), c, c.n)
	if err != nil || !maps.Equal(counts, map[string]int{workload: c.n}) {
		t.Errorf("got %v, %v, want all %d at %s", counts, err, c.n, workload)
	}
}

const (
	loadRate  = 500 // requests per second
	loadTime  = 5 * time.Second
	editEvery = 200 * time.Millisecond
)

// underLoad flips a split through all its forms, and its deletion, while requests
// are under way: none fails. At the end it is deleted, and the root answers
// (smi-rules 81).
func underLoad(t *testing.T, e *sidecars) {
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	forms := []string{
		splitBy("s", "", "bookstore-v1", 50, "bookstore-v2", 50),
		splitBy("s", "", "bookstore-v1", 0, "bookstore-v2", 100),
		splitBy("s", onBeta, "bookstore-v1", 1),
		splitBy("s", "", "bookstore", 90, "bookstore-v2", 10),
		"",
	}
	ctx, cancel := context.WithTimeout(t.Context(), loadTime)
	defer cancel()
	edits := 0
	var editor sync.WaitGroup
	editor.Go(func() {
		next := time.NewTicker(editEvery)
		defer next.Stop()
		for ctx.Err() == nil {
			if err := e.edit([]byte(forms[edits%len(forms)])); err != nil {
				t.Error(err)
				return
			}
			edits++
			select {
			case <-ctx.Done():
			case <-next.C:
			}
		}
	})
	statuses := paced(t, e, live(t, e))
	editor.Wait()
	seen := e.applications.seen("load")
	t.Logf("%d edits in %v, answers %v, applications saw %v", edits, loadTime, statuses, seen)
	want := int(loadRate * loadTime / time.Second)
	if statuses[200] < want*9/10 || len(statuses) != 1 || edits < 10 || len(seen) != 3 {
		t.Errorf("wanted about %d answers, all 200, from three applications, during 10 edits", want)
	}
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	expect(t, e, "bookstore")
}

// paced sends the call at the load's rate over several connections.
func paced(t *testing.T, e *sidecars, c call) map[int]int {
	const callers = 10
	statuses := map[int]int{}
	var mu sync.Mutex
	var senders sync.WaitGroup
	to := netip.AddrPortFrom(c.caller.AddressOf(c.service), c.port)
	for range callers {
		senders.Go(func() {
			conn, err := dial(t.Context(), to)
			defer func() { conn.close() }()
			next := time.NewTicker(callers * time.Second / loadRate)
			defer next.Stop()
			for range int(loadRate*loadTime/time.Second) / callers {
				<-next.C
				status := 0
				if err == nil {
					status, _, err = conn.ask(c.wire("load"), c.method)
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	return statuses
}

// watcher reads the watched folder as the control plane does, so that it knows
// how old objects are.
type watcher struct {
	source *files.Source
	good   smi.Objects
}

func (w *watcher) apply(e *sidecars, policy string) error {
	if err := e.edit([]byte(policy)); err != nil {
		return err
	}
	objects, _, err := w.source.Reload()
	if err != nil {
		return err
	}
	var s *mesh.Snapshot
	s, w.good, _ = smi.Settle(w.good, objects, settings())
	return e.apply([]byte(policy), s)
}

// oldestWins: a split that comes later takes nothing from the one that is there,
// whatever their names, and takes over when that is gone (smi-rules 72).
func oldestWins(t *testing.T, e *sidecars) {
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	w := watcher{source: files.NewSource(e.watched)}
	old, young := splitBy("z", "", "bookstore-v1", 1), splitBy("a", "", "bookstore-v2", 1)
	for _, step := range []struct{ policy, workload string }{
		{"", "bookstore"}, {old, "bookstore-v1"}, {young + old, "bookstore-v1"}, {young, "bookstore-v2"}, {young + old, "bookstore-v2"},
	} {
		if err := w.apply(e, step.policy); err != nil {
			t.Fatal(err)
		}
		expect(t, e, step.workload)
	}
}

// backendAppears: the share of a missing backend goes to the others until the
// Service is there (smi-rules 64).
func backendAppears(t *testing.T, e *sidecars, risk float64) {
	if err := e.clear(); err != nil {
		t.Fatal(err)
	}
	w := watcher{source: files.NewSource(e.watched)}
	early := splitBy("s", "", "bookstore-v1", 1, "bookstore-new", 1)
	if err := w.apply(e, early); err != nil {
		t.Fatal(err)
	}
	expect(t, e, "bookstore-v1")
	if err := w.apply(e, early+"---\napiVersion: v1\nkind: Service\nmetadata: {name: bookstore-new, namespace: bookstore}\n"+
		"spec: {selector: {app: bookstore-v2}, ports: [{port: 14001, targetPort: 14011}]}\n"); err != nil {
		t.Fatal(err)
	}
	r, err := parseRequest("bookbuyer -> bookstore:14001 GET /books 300 x bookstore-v1 1/2 bookstore-v2 1/2")
	if err != nil {
		t.Fatal(err)
	}
	c, err := callOf(e.empty, r)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := e.ask(t.Context(), c, c.n)
	if err != nil {
		t.Fatal(err)
	}
	measured(t, c, counts, risk)
}
