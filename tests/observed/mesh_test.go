// Package observed holds what sidecars tell of single requests and connections, the
// lines of their access logs and the spans of their traces, against what the test
// itself has called and its applications have counted.
//
// It must never take a line or a span for true because it is there: what is missing,
// and what is one too many, fails a test alike.
package observed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "observed.test"
	answerLimit = 5 * time.Second
)

var (
	programs rig.Programs
	buyer    = mesh.Name{Namespace: "shop", Name: "buyer"}
	thief    = mesh.Name{Namespace: "shop", Name: "thief"}
	store    = mesh.Name{Namespace: "shop", Name: "store"}
	desk     = mesh.Name{Namespace: "trial", Name: "desk"}
)

func TestMain(m *testing.M) {
	os.Exit(rig.Main("observed", filepath.Join("..", ".."), &programs, m.Run))
}

// network is a running mesh and its applications.
type network struct {
	*rig.Mesh
	snapshot *mesh.Snapshot
	apps     *applications
}

// start brings up the mesh of testdata, as change alters it.
func start(t *testing.T, change func(*rig.Options), workloads ...mesh.Name) *network {
	t.Helper()
	n := &network{apps: startApplications(t)}
	settings := smi.Settings{TrustDomain: trustDomain}
	loaded, err := files.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var problems []mesh.Problem
	n.snapshot, _, problems = smi.Settle(smi.Objects{}, loaded.Objects, settings)
	for _, p := range append(loaded.Problems, problems...) {
		t.Fatal(p)
	}
	o := rig.Options{Manifests: "testdata", Settings: settings, Workloads: workloads, Programs: programs}
	change(&o)
	if n.Mesh, err = rig.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := n.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Await(20*time.Second, "the policy to run", func(ctx context.Context) error { return n.runs(ctx, workloads) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// runs returns nil once the sidecars that are there run the policy.
func (n *network) runs(ctx context.Context, workloads []mesh.Name) error {
	partly := *n.snapshot
	partly.Workloads = nil
	for _, name := range workloads {
		w, _ := n.snapshot.Workload(name)
		partly.Workloads = append(partly.Workloads, w)
	}
	return n.Applied(ctx, &partly)
}

// address is where a caller's application dials a port of a service.
func (n *network) address(from, service mesh.Name, port uint16) string {
	w, _ := n.snapshot.Workload(from)
	s, _ := n.snapshot.Service(service)
	return netip.AddrPortFrom(w.AddressOf(s), port).String()
}

// applications are those of the store and the desk; they count what reaches them.
type applications struct {
	mu      sync.Mutex
	paths   map[string]int
	headers []http.Header
	dialled int
}

func startApplications(t *testing.T) *applications {
	t.Helper()
	a := &applications{paths: map[string]int{}}
	for _, address := range []string{"127.52.0.2:14101", "127.52.0.4:14103"} {
		s := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
		go s.Serve(listen(t, address))
		t.Cleanup(func() { s.Close() })
	}
	echo := listen(t, "127.52.0.2:14102")
	t.Cleanup(func() { echo.Close() })
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			a.mu.Lock()
			a.dialled++
			a.mu.Unlock()
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return a
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ServeHTTP answers 500 to /open/broken, else 200, with four bytes.
func (a *applications) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.paths[r.URL.Path]++
	a.headers = append(a.headers, r.Header.Clone())
	a.mu.Unlock()
	if r.URL.Path == "/open/broken" {
		w.WriteHeader(http.StatusInternalServerError)
	}
	io.WriteString(w, "page")
}

// served is how many requests have reached an application.
func (a *applications) served() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, count := range a.paths {
		n += count
	}
	return n
}

// call makes a request and returns its status; 0: there was no answer.
func call(t *testing.T, address, path string, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Client{Timeout: answerLimit}).Do(r)
	if err != nil {
		t.Logf("%s: %v", path, err)
		return 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// entry is one line of an access log.
type entry map[string]any

// read returns what the sidecar of w has logged, oldest first. A line that begins
// like an object and is none fails the test.
func (n *network) read(t *testing.T, w mesh.Name) (out []entry) {
	t.Helper()
	text, err := n.SidecarLog(w)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "{") {
			continue
		}
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s logs %q: %v", w, lines.Text(), err)
		}
		out = append(out, e)
	}
	return out
}

// logged waits for count lines of a sidecar: Envoy writes them within ten seconds.
func (n *network) logged(t *testing.T, w mesh.Name, count int) []entry {
	t.Helper()
	var got []entry
	err := n.Await(15*time.Second, fmt.Sprintf("%d lines of %s", count, w), func(context.Context) error {
		if got = n.read(t, w); len(got) < count {
			return fmt.Errorf("there are %d", len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, got)
	}
	if len(got) > count {
		t.Fatalf("%s logs %d lines, want %d: %v", w, len(got), count, got)
	}
	return got
}

// await polls for what takes a moment.
func (n *network) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := n.Await(15*time.Second, what, func(context.Context) error {
		if !done() {
			return fmt.Errorf("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func toText(e entry) string {
	text, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
