package connections

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// kept wants all flows to be open and to move on.
func kept(t *testing.T, flows []*flow) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	for _, f := range flows {
		if f.name == "opaque TCP, idle" {
			select {
			case <-f.done:
				t.Errorf("%s from %s was cut: %v", f.name, f.from.Name, f.cause)
			default:
			}
			continue
		}
		if err := f.live(ctx); err != nil {
			t.Error(err)
		}
	}
}

// cut wants all flows to end within the limit, with nothing wrong in them.
func cut(t *testing.T, flows []*flow, since time.Time) {
	t.Helper()
	limit := time.After(time.Until(since.Add(applyTimeout)))
	for _, f := range flows {
		select {
		case <-f.done:
			if f.wrong != nil {
				t.Errorf("%s: %v", f.name, f.wrong)
			}
			t.Logf("%-16s ended %4d ms after the edit: %v", f.name, f.ended.Sub(since).Milliseconds(), f.cause)
		case <-limit:
			t.Fatalf("%s is still open %v after the edit", f.name, time.Since(since).Round(time.Millisecond))
		}
	}
}

// testRevoke takes a right away from what is open (smi-rules 32), and not from
// what others keep open beside it.
func testRevoke(t *testing.T, n *network) {
	n.grant(t, every("first", "store", "caller"), every("second", "store", "other"))
	lost, stays := n.openAll(t, caller), n.openAll(t, other)
	n.grant(t, every("first", "store", "caller"), every("second", "store", "other"), every("third", "store", "nobody"))
	kept(t, append(lost, stays...)) // another rule came
	n.edit(t, manifests(every("first", "store", "caller"), every("second", "store", "other"))+labelled("store", "mode: audit"))
	kept(t, append(lost, stays...)) // another mode
	n.edit(t, manifests(every("first", "store", "caller"), every("second", "store", "other"))+labelled("side", "mode: audit"))
	kept(t, append(lost, stays...)) // another namespace's mode
	from, to := metered(caller), metered(store)
	n.counts(t, store, map[string]uint64{
		traffic.ReasonSeries(traffic.Revoked, from, to, string(policy.ReasonSource)):           uint64(len(lost)),
		traffic.ReasonSeries(traffic.Revoked, metered(other), to, string(policy.ReasonSource)): 0,
	}, func() {
		began := time.Now()
		n.write(t, manifests(every("second", "store", "other")))
		cut(t, lost, began)
	})
	kept(t, stays)
	n.grant(t, every("second", "store", "caller", "other")) // under another name, and with more sources
	kept(t, stays)
	n.edit(t, manifests(grant{name: "narrow", to: "store", sources: []string{"other"}, ports: []int{7001, 8001, 8002}, paths: []string{"/(ws|stream)$", "/connections.Echo/"}}))
	kept(t, stays)
	began := time.Now()
	n.write(t, manifests(grant{name: "narrow", to: "store", sources: []string{"other"}, paths: []string{"/hello$"}}))
	cut(t, stays, began)
}

const manyFlows = 50

// edits is how often the policy is edited; 300 were measured to cost no memory.
var edits = flag.Int("edits", 45, "how often testManyEdits edits the policy")

// testManyEdits edits what concerns others again and again: nothing that is open
// suffers, and nothing piles up in the module.
func testManyEdits(t *testing.T, n *network) {
	base := manifests(every("first", "store", "caller"), every("second", "store", "other"))
	n.edit(t, base)
	var flows []*flow
	for i := 0; len(flows) < manyFlows; i++ {
		for kind := range kinds() {
			if kind != "opaque TCP, busy" || i < 2 {
				flows = append(flows, n.open(t, kind, []mesh.Name{caller, other}[i%2]))
			}
		}
	}
	began, before := time.Now(), n.resident(t, store)
	var third int
	for i := range *edits {
		if i == *edits/3 {
			third = n.resident(t, store)
		}
		n.edit(t, base+manifests(every(fmt.Sprintf("edit%d", i), "store", "nobody")))
	}
	after := n.resident(t, store)
	t.Logf("%d edits with %d flows open in %v; resident memory of the store's Envoy: %d MB before, %d MB after a third, %d MB after all",
		*edits, len(flows), time.Since(began).Round(time.Millisecond), before>>10, third>>10, after>>10)
	kept(t, flows)
	if grown := after - third; grown > 24<<10 {
		t.Errorf("the last two thirds of the edits cost %d MB", grown>>10)
	}
	began = time.Now()
	n.write(t, "")
	slowest := time.Time{}
	for _, f := range flows {
		select {
		case <-f.done:
			if f.ended.After(slowest) {
				slowest = f.ended
			}
		case <-time.After(time.Until(began.Add(applyTimeout))):
			t.Fatalf("%s is still open %v after the last edit", f.name, time.Since(began))
		}
		if f.wrong != nil {
			t.Errorf("%s: %v", f.name, f.wrong)
		}
	}
	t.Logf("all %d ended within %v", len(flows), slowest.Sub(began).Round(time.Millisecond))
}

// resident is the memory of a workload's Envoy in KiB, 0 where the system does
// not tell.
func (n *network) resident(t *testing.T, w mesh.Name) int {
	t.Helper()
	dir := filepath.Dir(n.Admin(w).Socket)
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if at, err := os.Readlink(filepath.Join(p, "cwd")); err != nil || at != dir {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p, "status"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, _ := strconv.Atoi(fields[0])
			return kib
		}
	}
	return 0
}

// testUpdate flips between two policies and asks for what neither allows
// (smi-rules 33).
func testUpdate(t *testing.T, n *network) {
	old := manifests(grant{name: "rule", to: "store", sources: []string{"caller"}, ports: []int{7001, 8001}, paths: []string{"/hello/old$"}})
	changed := manifests(grant{name: "rule", to: "store", sources: []string{"other"}, ports: []int{7002, 8001}, paths: []string{"/hello/new$"}})
	n.edit(t, old)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error)
	go func() { asked <- n.askOutside(ctx) }()
	for i := range 20 {
		n.edit(t, []string{changed, old}[i%2])
	}
	cancel()
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// askOutside asks until the context ends for what is in no policy, and fails
// with the first that passes.
func (n *network) askOutside(ctx context.Context) error {
	all := opaque()
	rounds := 0
	for ; ctx.Err() == nil; rounds++ {
		for _, c := range []struct {
			from mesh.Name
			l    listener
		}{{caller, all[1]}, {other, all[0]}} {
			if err := n.denied(context.Background(), c.from, c.l); err != nil {
				return fmt.Errorf("%s, %s: %w", c.from.Name, c.l.name, err)
			}
		}
		for from, path := range map[mesh.Name]string{caller: "/hello/new", other: "/hello/old"} {
			status, _, err := get(context.Background(), n.outlet(from, store, 8001), path)
			if err != nil || status != 403 {
				return fmt.Errorf("%s %s: %d %w", from.Name, path, status, err)
			}
		}
	}
	if rounds < 10 {
		return errors.New("there was hardly any asking")
	}
	return nil
}
