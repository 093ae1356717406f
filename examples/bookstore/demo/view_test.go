package demo

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/status"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

var write = flag.Bool("write", false, "write the golden files")

// evening is a mesh in which everything that can be shown happens at once.
func evening() View {
	return View{
		Running: 72*time.Second + 300*time.Millisecond,
		Source:  "examples/bookstore", Module: "mesh-tinygo.wasm",
		Calls: []Call{
			{From: "bookbuyer/bookbuyer", To: "bookstore/bookstore-v1", Allowed: 4.97},
			{From: "bookstore/bookstore-v1", To: "bookwarehouse/bookwarehouse", Allowed: 2.5, Denied: 0.3, Reason: "method"},
			{From: "bookthief/bookthief", To: "bookstore/bookstore-v1", Denied: 5.04, Reason: "source"},
		},
		Root: "bookstore/bookstore", Window: 10*time.Second + 40*time.Millisecond,
		Shares: []Share{
			{Backend: "bookstore/bookstore-v1", Weight: 90, Requests: 89},
			{Backend: "bookstore/bookstore-v2", Weight: 10, Requests: 11},
		},
		Sidecars: []SidecarView{
			{Name: "bookwarehouse/bookwarehouse", Connected: true, Serves: true, Policy: Policy{0xb141e597b556, 0xb141e597b556}},
			{Name: "bookstore/bookstore-v1", Connected: true, Serves: true, Policy: Policy{0xd74d2dd9b623d, 0xb141e597b556}, Refused: "wasmesh.access: Invalid path"},
			{Name: "bookstore/bookstore-v2", Serves: true, Policy: Policy{0, 0xb141e597b556}},
			{Name: "bookbuyer/bookbuyer", Connected: true},
		},
		Problems: []string{"access.yaml:14: TrafficTarget bookstore/buyers: \x1b[2Jodd", "split.yaml:3: TrafficSplit bookstore/bookstore: spec.service: " +
			"Service \"bookstor\" does not exist in namespace bookstore. The split routes nothing until it does. Did you mean \"bookstore\"?", "3", "4", "5", "6", "7"},
		Blind: "metrics of bookstore-v2-sidecar: no answer",
	}
}

// told is what the control plane says of the sidecars of a view.
func told(v View) View {
	v.At = time.Unix(1_000_000, 0)
	for _, s := range v.Sidecars {
		name, _ := mesh.ParseName(s.Name)
		v.Status.Workloads = append(v.Status.Workloads, status.Workload{Name: name, ServiceAccount: name})
		if s.Connected {
			p := serve.Proxy{Name: name, Settled: s.Refused == "", Expires: v.At.Add(time.Hour)}
			if s.Refused != "" {
				p.Refusals = []serve.Refusal{{Type: xds.FilterType, Resources: []string{"wasmesh.access"}, Cause: "Invalid path", At: v.At}}
			}
			v.Status.Proxies = append(v.Status.Proxies, p)
		}
	}
	return v
}

func TestRender(t *testing.T) {
	for name, v := range map[string]View{
		"everything": evening(),
		"beginning":  {Source: "examples/bookstore", Module: "mesh.wasm", Sidecars: []SidecarView{{Name: "bookbuyer/bookbuyer", Connected: true}}},
	} {
		for _, width := range []int{80, 110} {
			path := fmt.Sprintf("testdata/%s%d.txt", name, width)
			got := Render(told(v), width)
			if *write {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil || got != string(golden) {
				t.Errorf("%s: %v; the screen is\n%s\ninstead of\n%s", path, err, got, golden)
			}
		}
	}
}

func TestRenderStaysInsideTheScreen(t *testing.T) {
	for line := range strings.Lines(Render(told(evening()), 40)) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 40 {
			t.Errorf("%d characters: %q", n, line)
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("a manifest's text moves the cursor: %q", line)
		}
	}
}

func TestLine(t *testing.T) {
	v := evening()
	v.Calls, v.Problems, v.Blind = v.Calls[2:], v.Problems[2:4], ""
	const want = "  72s; bookthief>bookstore-v1 0.0/s ok 5.0/s denied; bookstore-v1 refused: wasmesh.access: Invalid path; " +
		"bookstore-v2 is not connected; 2 problems, first: 3\n"
	if got := Line(v); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
