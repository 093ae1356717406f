package status_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/status"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
)

var write = flag.Bool("write", false, "write the golden files")

func named(s string) mesh.Name {
	n, _ := mesh.ParseName(s)
	return n
}

var (
	now    = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	sum    = strings.Repeat("ab12", 16)
	long   = strings.Repeat("a-namespace-that-goes-on", 3)
	wicked = mesh.Name{Namespace: long, Name: "\x1b[2J\u202eworkload\nof-" + long}
)

func at(name, module string, settled bool, left time.Duration) serve.Proxy {
	return serve.Proxy{Name: named(name), Module: module, Settled: settled, Expires: now.Add(left)}
}

// calm is a mesh that is fine, storm one in which everything is wrong at once.
func calm() status.Status {
	return status.Status{
		Module:  sum,
		Proxies: []serve.Proxy{at("shop/buyer", "", true, 23*time.Hour+59*time.Minute), at("shop/store", sum, true, 90*time.Second)},
		Workloads: []status.Workload{
			{Name: named("shop/buyer"), ServiceAccount: named("shop/buyer")},
			{Name: named("shop/store"), ServiceAccount: named("shop/store"), Ports: []mesh.WorkloadPort{{Port: 80, Protocol: mesh.HTTP1}, {Port: 5432, Protocol: mesh.TCP}}},
		},
	}
}

func storm() status.Status {
	s := calm()
	s.Relaxed = []status.Relaxed{{Namespace: "shop", Mode: policy.Audit, Plaintext: true}, {Namespace: long, Mode: policy.Permissive}}
	s.Problems = []string{"access.yaml:14: TrafficTarget shop/buyers: \x1b[2Jodd", strings.Repeat("x", 200)}
	refused := at("shop/store", sum, false, -time.Second)
	refused.Refusals = []serve.Refusal{
		{Type: xds.FilterType, Resources: []string{"wasmesh.access"}, Cause: "Invalid path: ./modules/" + sum + ".wasm", At: now.Add(-12 * time.Second)},
		{Type: xds.ListenerType, Resources: []string{"outbound|shop/store|80", "inbound|80"}, Cause: "cannot bind '127.0.0.1:80'", At: now.Add(-time.Hour)},
	}
	pending := at("shop/buyer", "", false, 20_000*time.Hour)
	for _, name := range []string{"a", "b", "c", "d"} {
		pending.Waiting = append(pending.Waiting, serve.Resource{Type: xds.ClusterType, Name: xds.OutboundName(named("shop/"+name), 8080)})
	}
	hostile := serve.Proxy{Name: wicked, Refusals: []serve.Refusal{{Type: xds.RuntimeType, Resources: []string{"wasmesh"}, Cause: "\x1b[31m\x00no", At: now}}}
	s.Proxies = []serve.Proxy{hostile, pending, refused, at("shop/store", sum, true, time.Hour), at("shop/gone", "", true, time.Hour)}
	s.Workloads = append(s.Workloads, status.Workload{Name: named("shop/absent"), Ports: []mesh.WorkloadPort{{Port: 80, Protocol: mesh.HTTP2}}})
	return s
}

func TestGolden(t *testing.T) {
	for name, s := range map[string]status.Status{"calm": calm(), "storm": storm(), "nothing": {}} {
		path := filepath.Join("testdata", name+".txt")
		got := s.Text(status.Look{Width: 80, Now: now})
		if *write {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v; got\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

// No line is wider than asked for, and no name moves a cursor or turns a line.
func TestNothingIsWiderOrMoves(t *testing.T) {
	for _, width := range []int{60, 61, 80, 133, 200} {
		for line := range strings.Lines(storm().Text(status.Look{Width: width, Now: now})) {
			line = strings.TrimSuffix(line, "\n")
			if n := len([]rune(line)); n > width {
				t.Errorf("%d of %d: %q", n, width, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) {
				t.Errorf("%q", line)
			}
		}
	}
}

// Colours are added to the same text.
func TestColours(t *testing.T) {
	bare, coloured := storm().Text(status.Look{Width: 80, Now: now}), storm().Text(status.Look{Width: 80, Now: now, Colour: true})
	if !strings.Contains(coloured, "\x1b[31mrefused\x1b[0m") || !strings.Contains(coloured, "\x1b[32msynced \x1b[0m") {
		t.Errorf("no colours in\n%s", coloured)
	}
	for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if coloured != bare {
		t.Errorf("without its colours it is\n%s\nnot\n%s", coloured, bare)
	}
}
