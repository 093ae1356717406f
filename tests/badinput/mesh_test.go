package badinput

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "badinput.test"
	// applyTimeout is how late an edit may be in force.
	applyTimeout = 5 * time.Second
	// moduleTimeout is how long taking or refusing a module may last: it is
	// compiled by a control plane and by Envoys that share the machine.
	moduleTimeout = 40 * time.Second
	answerTimeout = 10 * time.Second
)

var (
	buyer   = mesh.Name{Namespace: "shop", Name: "buyer"}
	store   = mesh.Name{Namespace: "shop", Name: "store"}
	printer = mesh.Name{Namespace: "shop", Name: "printer"}
)

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// shop is a running mesh, its folder of manifests and its applications.
type shop struct {
	*rig.Mesh
	t      *testing.T
	folder string
	// module is the file that the control plane watches.
	module string
	apps   *applications
}

// openShop starts the mesh of testdata/mesh. change may alter what it is
// started with.
func openShop(t *testing.T, change func(*shop, *rig.Options)) *shop {
	t.Helper()
	s := &shop{t: t, folder: t.TempDir(), module: filepath.Join(t.TempDir(), "mesh.wasm")}
	copyMesh(t, s.folder)
	s.putModule(goodModule(t))
	o := rig.Options{Manifests: s.folder, Settings: settings(), Workloads: []mesh.Name{buyer, store}, Programs: programs}
	o.Programs.Module = s.module
	if change != nil {
		change(s, &o)
	}
	s.apps = startApplications(t)
	var err error
	if s.Mesh, err = rig.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := s.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if !o.BadModule {
		s.noProblems(applyTimeout) // else the test's own manifests are bad
	}
	return s
}

func copyMesh(t *testing.T, folder string) {
	t.Helper()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "mesh"))); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a manifest as an editor that writes safely does.
func (s *shop) edit(name, text string) {
	s.t.Helper()
	replaceFile(s.t, filepath.Join(s.folder, name), []byte(text))
}

func (s *shop) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// exchange edits one text of a manifest, which must be there.
func (s *shop) exchange(name, old, text string) {
	s.t.Helper()
	before := s.read(name)
	if !strings.Contains(before, old) {
		s.t.Fatalf("%s does not contain %q", name, old)
	}
	s.edit(name, strings.Replace(before, old, text, 1))
}

func (s *shop) move(from, to string) {
	s.t.Helper()
	if err := os.Rename(from, to); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) putModule(wasm []byte) {
	s.t.Helper()
	replaceFile(s.t, s.module, wasm)
}

func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	part := filepath.Join(filepath.Dir(path), ".part")
	if err := os.WriteFile(part, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
}

// snapshot is what the folder means to a control plane that starts now.
func (s *shop) snapshot() *mesh.Snapshot {
	s.t.Helper()
	loaded, err := files.Load(s.folder)
	if err != nil {
		s.t.Fatal(err)
	}
	snapshot, _, _ := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	return snapshot
}

// must fails the test unless probe returns nil within limit.
func (s *shop) must(limit time.Duration, what string, probe func(context.Context) error) {
	s.t.Helper()
	if err := s.Await(limit, what, probe); err != nil {
		s.t.Fatal(err)
	}
}

// problem waits for a problem in the status that has all the parts, and wants
// it in the log too.
func (s *shop) problem(limit time.Duration, parts ...string) {
	s.t.Helper()
	s.must(limit, fmt.Sprintf("a problem with %q in the status", parts), func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		for _, p := range status.Problems {
			if containsAll(p, parts) {
				return nil
			}
		}
		return fmt.Errorf("the problems are %q", status.Problems)
	})
	s.logged(parts...)
}

func (s *shop) noProblems(limit time.Duration) {
	s.t.Helper()
	s.must(limit, "the problems to be gone", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err == nil && len(status.Problems) > 0 {
			err = fmt.Errorf("the problems are %q", status.Problems)
		}
		return err
	})
}

// logged waits for a line of the control plane's log that has all the parts.
func (s *shop) logged(parts ...string) {
	s.t.Helper()
	s.must(applyTimeout, fmt.Sprintf("a line with %q in the log", parts), func(context.Context) error {
		text, err := s.ControlPlaneLog()
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if containsAll(strings.ReplaceAll(line, `\"`, `"`), parts) {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// proxyOf is how the control plane sees a workload's sidecar.
func proxyOf(s controlplane.Status, w mesh.Name) (serve.Proxy, error) {
	for _, p := range s.Proxies {
		if p.Name == w {
			return p, nil
		}
	}
	return serve.Proxy{}, fmt.Errorf("%s is not connected", w)
}

// ask sends one request on a connection of its own.
func (s *shop) ask(ctx context.Context, from, to mesh.Name, path string) (int, error) {
	return ask(ctx, &http.Transport{DisableKeepAlives: true}, outlet(from, to), to, path)
}

func ask(ctx context.Context, transport *http.Transport, at netip.AddrPort, to mesh.Name, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return 0, err
	}
	request.Host = to.Name + "." + to.Namespace
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// outlet is where a caller's application dials a service; testdata/mesh says so.
func outlet(from, to mesh.Name) netip.AddrPort {
	network := map[mesh.Name]byte{buyer: 91, store: 92, printer: 93, porter: 94}[from]
	host := map[mesh.Name]byte{store: 1, printer: 2, shelf: 3, desk: 4, tray: 5}[to]
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, network, 7, host}), 8081)
}

// answers returns a probe for the status of a request.
func (s *shop) answers(from, to mesh.Name, path string, want int) func(context.Context) error {
	return func(ctx context.Context) error {
		got, err := s.ask(ctx, from, to, path)
		if err == nil && got != want {
			err = fmt.Errorf("%s -> %s %s is answered %d, want %d", from, to, path, got, want)
		}
		return err
	}
}

// applications answer 200 to everything and count what they saw.
type applications struct {
	mu   sync.Mutex
	seen map[string]int
}

func startApplications(t *testing.T) *applications {
	t.Helper()
	a := &applications{seen: map[string]int{}}
	for name, at := range map[string]string{"store": "127.63.0.2:8081", "printer": "127.63.0.3:8081"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			a.seen[name+r.URL.Path]++
			a.mu.Unlock()
		})}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(l) }()
		t.Cleanup(func() {
			if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
	return a
}

// count returns how many requests for a name and path, "store/books", arrived.
func (a *applications) count(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[what]
}
