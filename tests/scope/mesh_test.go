package scope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "scope.test"
	// applyTimeout is how late an edit may be in force (smi-rules 32).
	applyTimeout  = 5 * time.Second
	answerTimeout = 5 * time.Second
	greeting      = "good day\n"
)

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

func shop(name string) mesh.Name { return mesh.Name{Namespace: "shop", Name: name} }

// street is the running mesh.
type street struct {
	*rig.Mesh
	t       *testing.T
	watched string
	// seen counts what reached the store's application: requests and connections.
	seen atomic.Int64
}

// TestScope starts one mesh for everything: most of the time goes into that.
func TestScope(t *testing.T) {
	s := open(t, "annex", "clerk", "porter", "cook")
	for _, part := range []struct {
		name string
		test func(*testing.T, *street)
	}{
		{"own sidecar refuses", testOwnSidecarRefuses}, {"opaque ports", testOpaque},
		{"few are concerned", testConcerned}, {"edits", testEdits},
	} {
		t.Run(part.name, func(t *testing.T) {
			s.t = t
			part.test(t, s)
		})
	}
}

// open starts the three sidecars and joins the streams of the others.
func open(t *testing.T, streams ...string) *street {
	s := &street{t: t, watched: t.TempDir()}
	cast, err := os.ReadFile(filepath.Join("testdata", "cast.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.watched, "cast.yaml"), cast, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.write(usual())
	s.application()
	s.Mesh, err = rig.Start(context.Background(), rig.Options{
		Manifests: s.watched, Settings: settings(), Programs: programs,
		Workloads: []mesh.Name{shop("store"), shop("buyer"), shop("thief")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range streams {
		s.join(shop(name))
	}
	s.await("everybody to have everything", func(ctx context.Context) error { return s.settled(ctx, s.read()) })
	return s
}

// application is that of the store: it answers every request, and greets.
func (s *street) application() {
	listen := func(port int) net.Listener {
		l, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", fmt.Sprintf("127.160.1.1:%d", port))
		if err != nil {
			s.t.Fatal(err)
		}
		return l
	}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.seen.Add(1) })}
	go server.Serve(listen(8080))
	greeter := listen(5432)
	go func() {
		for {
			c, err := greeter.Accept()
			if err != nil {
				return
			}
			s.seen.Add(1)
			_, _ = io.WriteString(c, greeting)
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	s.t.Cleanup(func() { server.Close(); greeter.Close() })
}

// write replaces the policy as an editor that writes safely does.
func (s *street) write(p policy) {
	s.t.Helper()
	part := filepath.Join(s.watched, ".part")
	err := os.WriteFile(part, []byte(p.yaml()), 0o600)
	if err == nil {
		err = os.Rename(part, filepath.Join(s.watched, "policy.yaml"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// edit writes a policy and returns when everybody has taken what it amounts to.
func (s *street) edit(p policy) {
	s.t.Helper()
	before := s.publications()
	s.write(p)
	snapshot := s.read()
	s.await("the edit to be published", func(context.Context) error {
		if s.publications() == before {
			return errors.New("it is not")
		}
		return nil
	})
	s.await("the edit to be in force", func(ctx context.Context) error { return s.settled(ctx, snapshot) })
}

// publications counts how often the control plane has published.
func (s *street) publications() int {
	s.t.Helper()
	log, err := s.ControlPlaneLog()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(log, "msg=published")
}

// read wants the folder to be without a problem.
func (s *street) read() *mesh.Snapshot {
	s.t.Helper()
	loaded, err := files.Load(s.watched)
	if err != nil {
		s.t.Fatal(err)
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	if problems = append(loaded.Problems, problems...); len(problems) > 0 {
		s.t.Fatalf("problems: %v", problems)
	}
	return snapshot
}

// settled returns nil once the store runs a policy and everybody has everything.
func (s *street) settled(ctx context.Context, snapshot *mesh.Snapshot) error {
	store, _ := snapshot.Workload(shop("store"))
	stats, err := s.Stats(ctx, store.Name, "^wasmcustom.wasmesh_.*policy_version$")
	if err != nil {
		return err
	}
	for _, gauge := range []string{traffic.PolicyVersion, traffic.ConnectionPolicyVersion} {
		if got, want := stats["wasmcustom."+gauge], xds.PolicyVersion(snapshot, store); got != want {
			return fmt.Errorf("%s is %x, want %x", gauge, got, want)
		}
	}
	status, err := s.Status(ctx)
	for _, p := range status.Proxies {
		if !p.Settled {
			return fmt.Errorf("%s has not taken everything: %+v", p.Name, p.Refusals)
		}
	}
	return err
}

func (s *street) await(what string, probe func(context.Context) error) {
	s.t.Helper()
	if err := s.Await(applyTimeout, what, probe); err != nil {
		s.t.Fatal(err)
	}
}

// sent returns how many bytes each proxy has been sent.
func (s *street) sent() map[string]uint64 {
	s.t.Helper()
	status, err := s.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, p := range status.Proxies {
		out[p.Name.Name] = p.Sent
	}
	return out
}

// at is where a caller's application dials a port of the store.
func (s *street) at(caller string, port uint16) string {
	s.t.Helper()
	snapshot := s.read()
	w, known := snapshot.Workload(shop(caller))
	service, there := snapshot.Service(shop("store"))
	if !known || !there {
		s.t.Fatalf("there is no caller %s", caller)
	}
	return netip.AddrPortFrom(w.AddressOf(service), port).String()
}

func sorted(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
