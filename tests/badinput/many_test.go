package badinput

import (
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const (
	many = 10_000
	// manyWork bounds the processor time of a pass over many objects, which on a
	// busy machine says more than a clock: measured are 7 s, most of it for YAML.
	manyWork = 40 * time.Second
	// manyTimeout is how late many objects may be in force on a busy machine.
	manyTimeout = 90 * time.Second
	// manyBytes bounds the memory that they occupy; measured are 130 MB.
	manyBytes = 512 << 20
)

// crowd writes many TrafficTargets that let the buyer call the store, each with
// an HTTPRouteGroup of its own. expr and group have a verb for the number.
func crowd(t *testing.T, folder, expr, group string) {
	t.Helper()
	const perFile = 2000
	var b strings.Builder
	for i := range many {
		b.WriteString(groupOf(fmt.Sprintf("group-%d", i), fmt.Sprintf("    - {name: m, pathRegex: '"+expr+"', methods: [GET]}", i)) + "---\n")
		b.WriteString(targetOf(fmt.Sprintf("target-%d", i), "    - {kind: ServiceAccount, name: buyer, namespace: shop}",
			fmt.Sprintf("    - {kind: HTTPRouteGroup, name: "+group+"}", i)) + "---\n")
		if (i+1)%perFile == 0 {
			replaceFile(t, filepath.Join(folder, fmt.Sprintf("crowd-%d.yaml", i/perFile)), []byte(b.String()))
			b.Reset()
		}
	}
}

// worked is the processor time that this process has taken.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A pass over 20,000 objects, whatever is wrong with half of them, is a matter of
// seconds and of some hundred megabytes.
func TestManyObjects(t *testing.T) {
	for _, c := range []struct {
		name, expr, group string
		problems          int
	}{
		{"good expressions", "/api/v[0-9]+/items/%d/(detail|list|edit)(/.*)?$", "group-%d", 0},
		{"broken expressions", "/item%d(", "group-%d", many},
		{"references to nothing", "/item%d$", "gruop-%d", many},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			copyMesh(t, dir)
			crowd(t, dir, c.expr, c.group)
			start := worked(t)
			source := files.NewSource(dir)
			objects, problems, err := source.Reload()
			if err != nil {
				t.Fatal(err)
			}
			read := worked(t)
			snapshot, good, more := smi.Settle(smi.Objects{}, objects, settings())
			settled := worked(t)
			// An edit that breaks one of them: the pass that a mistake costs.
			objects.HTTPRouteGroups[0].Spec.Matches[0].PathRegex = "("
			_, _, broken := smi.Settle(good, objects, settings())
			again := worked(t)
			resources := xds.Build(snapshot, store, xds.Settings{Module: strings.Repeat("a", 64), LeafLifetime: time.Hour})
			built := worked(t)
			runtime.GC()
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			t.Logf("%d objects in processor time: read in %.2f s, settled in %.2f s, with one more broken in %.2f s, built for one proxy in %.2f s; %d MB in use",
				objects.Len(), (read - start).Seconds(), (settled - read).Seconds(), (again - settled).Seconds(), (built - again).Seconds(), memory.HeapInuse>>20)
			if built-start > manyWork {
				t.Errorf("it took %v of processor time", built-start)
			}
			if memory.HeapInuse > manyBytes {
				t.Errorf("%d MB are in use", memory.HeapInuse>>20)
			}
			if len(problems) != 0 || len(more) != c.problems || len(broken) == 0 {
				t.Errorf("%d and %d problems, then %d", len(problems), len(more), len(broken))
			}
			wantGrants(t, snapshot, "shop/buyers", "shop/paper")
			runtime.KeepAlive([]any{source, objects, good, snapshot, resources})
		})
	}
}

// All of them on a running mesh: whoever was allowed notices nothing, each grants
// what it says, and an edit still applies.
func TestManyObjectsOnARunningMesh(t *testing.T) {
	s := openShop(t, nil)
	l := s.startLoad()
	start := time.Now()
	crowd(t, s.folder, "/item%d$", "group-%d")
	s.must(manyTimeout, "the last of them", s.answers(buyer, store, fmt.Sprintf("/item%d", many-1), http.StatusOK))
	t.Logf("%d TrafficTargets granted %.1f s after the first file of them was written", many, time.Since(start).Seconds())
	start = time.Now()
	s.edit("extra.yaml", fmt.Sprintf(extra, 1))
	s.must(manyTimeout, "an edit beside them", s.answers(buyer, store, "/extra1", http.StatusOK))
	t.Logf("an edit beside them was in force after %.1f s", time.Since(start).Seconds())
	start = time.Now()
	s.exchange("extra.yaml", "/extra1$", "/extra2$")
	s.must(manyTimeout, "a revocation beside them", s.answers(buyer, store, "/extra1", http.StatusForbidden))
	t.Logf("a revocation beside them was in force after %.1f s", time.Since(start).Seconds())
	for _, path := range []string{"/item0", "/item5000", fmt.Sprintf("/item%d", many-1)} {
		if err := s.answers(buyer, store, path, http.StatusOK)(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.answers(buyer, store, fmt.Sprintf("/item%d", many), http.StatusForbidden)(t.Context()); err != nil {
		t.Error(err)
	}
	s.noProblems(applyTimeout)
	l.stop(t)
}
