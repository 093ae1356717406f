package suggest

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
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "suggest.test"
	// applyTimeout is how late a policy may run (smi-rules 32).
	applyTimeout  = 5 * time.Second
	answerTimeout = 5 * time.Second
	// observeTimeout covers the second that a sidecar gathers entries for.
	observeTimeout = 10 * time.Second
	policyFile     = "policy.yaml"
)

var (
	buyer = mesh.Name{Namespace: "bookbuyer", Name: "bookbuyer"}
	thief = mesh.Name{Namespace: "bookthief", Name: "bookthief"}
	store = mesh.Name{Namespace: "bookstore", Name: "bookstore-v1"}
)

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// shop is a running mesh with its application.
type shop struct {
	t    *testing.T
	mesh *rig.Mesh
	// cast has no policy in it, watched has the one in force.
	cast, watched string
	snapshot      *mesh.Snapshot
	// nameless counts the calls of callers without a sidecar.
	nameless uint64
}

func open(t *testing.T) *shop {
	s := &shop{t: t, cast: t.TempDir(), watched: t.TempDir()}
	for from, to := range map[string]string{
		filepath.Join("..", "..", "examples", "bookstore", "services.yaml"): "services.yaml",
		filepath.Join("testdata", "workloads.yaml"):                         "workloads.yaml",
	} {
		for _, dir := range []string{s.cast, s.watched} {
			s.copy(from, filepath.Join(dir, to))
		}
	}
	s.copy(filepath.Join("testdata", "permissive.yaml"), filepath.Join(s.watched, policyFile))
	s.snapshot = s.read()
	for _, w := range s.snapshot.Workloads {
		for _, p := range w.Ports {
			s.serve(netip.AddrPortFrom(w.Application, p.Port))
		}
	}
	var err error
	s.mesh, err = rig.Start(t.Context(), rig.Options{
		Manifests: s.watched, Settings: settings(), Programs: programs,
		Workloads: []mesh.Name{buyer, thief, store},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.mesh.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.applied()
	return s
}

func (s *shop) copy(from, to string) {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// serve is an application that knows no /wp-login.php.
func (s *shop) serve(at netip.AddrPort) {
	l, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", at.String())
	if err != nil {
		s.t.Fatal(err)
	}
	if at.Port() == 14003 {
		go greet(l)
		s.t.Cleanup(func() { l.Close() })
		return
	}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wp-login.php" {
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	go server.Serve(l)
	s.t.Cleanup(func() { server.Close() })
}

// greet is an application that speaks first, and no HTTP.
func greet(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "good day\n")
		conn.Close()
	}
}

// read wants the policy in the watched folder to be without a problem. Not every
// service of the bookstore has a workload here.
func (s *shop) read() *mesh.Snapshot {
	s.t.Helper()
	loaded, err := files.Load(s.watched)
	if err != nil {
		s.t.Fatal(err)
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	for _, p := range append(loaded.Problems, problems...) {
		if p.Object.Kind != smi.KindService {
			s.t.Errorf("a problem in the manifests: %s", p)
		}
	}
	return snapshot
}

// apply makes text the policy, as an editor that writes safely does.
func (s *shop) apply(text []byte) {
	s.t.Helper()
	part := filepath.Join(s.watched, ".part")
	if err := os.WriteFile(part, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(part, filepath.Join(s.watched, policyFile)); err != nil {
		s.t.Fatal(err)
	}
	s.snapshot = s.read()
	s.applied()
}

func (s *shop) applied() {
	s.t.Helper()
	s.await(applyTimeout, "the policy to run", func(ctx context.Context) error { return s.mesh.Applied(ctx, s.snapshot) })
}

func (s *shop) await(limit time.Duration, what string, probe func(context.Context) error) {
	s.t.Helper()
	if err := s.mesh.Await(limit, what, probe); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends a request from a caller's own loopback network.
func (s *shop) ask(r request) int {
	s.t.Helper()
	from, ok := s.snapshot.Workload(r.from)
	if !ok {
		s.t.Fatalf("there is no workload %s", r.from)
	}
	name := "bookstore"
	if r.port != 14001 {
		name = "office"
	}
	service, ok := s.snapshot.Service(mesh.Name{Namespace: "bookstore", Name: name})
	if !ok {
		s.t.Fatalf("there is no service %s", name)
	}
	status, err := send(s.t.Context(), netip.AddrPortFrom(from.AddressOf(service), r.port), r)
	if err != nil {
		s.t.Fatalf("%s: %v", r, err)
	}
	return status
}

func send(ctx context.Context, to netip.AddrPort, r request) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if r.method == "tcp" {
		if greeting, err := io.ReadAll(conn); err != nil || string(greeting) != "good day\n" {
			return http.StatusForbidden, nil
		}
		return http.StatusOK, nil
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: bookstore\r\nUser-Agent: hidden-agent\r\nReferer: hidden-referer\r\nCookie: hidden-cookie\r\n\r\n", r.method, r.target)
	if _, err := io.WriteString(conn, text); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return 0, fmt.Errorf("no answer: %w", err)
	}
	return response.StatusCode, response.Body.Close()
}

// observed asks the control plane what it has kept.
func (s *shop) observed(ctx context.Context) (controlplane.Observed, string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.mesh.StatusSocket())
		},
	}}
	var seen controlplane.Observed
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controlplane/observations", nil)
	if err != nil {
		return seen, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return seen, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return seen, "", err
	}
	return seen, string(text), json.Unmarshal(text, &seen)
}

// suggest runs the command and returns what it prints and how it ends.
func (s *shop) suggest(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, complaints strings.Builder
	cmd := exec.CommandContext(s.t.Context(), programs.Wasmesh, append([]string{"suggest", "--status", s.mesh.StatusSocket()}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}
