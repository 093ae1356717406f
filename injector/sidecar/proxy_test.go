package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var quiet = slog.New(slog.DiscardHandler)

// provision puts a real key and certificate into a run folder.
func provision(t *testing.T, r *runDir) {
	t.Helper()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "ca"), ca.Options{TrustDomain: "mesh.test"})
	if err != nil {
		t.Fatal(err)
	}
	key, csr, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := ca.ParseRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue(public, ca.Identity{ServiceAccount: mesh.Name{Namespace: "shop", Name: "buyer"},
		Workload: mesh.Name{Namespace: "shop", Name: "buyer-1"}, Kind: ca.KindWorkload}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := deliver(r, key, leaf.Chain, authority.TrustBundle()); err != nil {
		t.Fatal(err)
	}
}

// startEnvoy runs a real Envoy until the test ends, with the listeners that are
// in the file lds.json of its run folder if direction is not empty.
func startEnvoy(t *testing.T, direction string) (*proxy, *runDir) {
	t.Helper()
	binary := findEnvoy(t)
	r, err := openRunDir(shortDir(t), "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	provision(t, r)
	c := example
	c.RunDir = r.path
	bootstrap, err := Bootstrap(c)
	if err != nil {
		t.Fatal(err)
	}
	if direction != "" {
		bootstrap = fromDisk(t, r, bootstrap, direction)
	}
	if err := os.WriteFile(r.file(BootstrapFile), bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	var out safeBuffer
	p, err := startProxy(binary, Options{Concurrency: 1, LogLevel: "warning"}.arguments(r), nil, r, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop(0, quiet)
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return p, r
}

// fromDisk makes one listener of that direction come from a file, in place of
// what the control plane would send.
func fromDisk(t *testing.T, r *runDir, bootstrap []byte, direction string) []byte {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	listener := fmt.Sprintf(`{"resources":[{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l","traffic_direction":%q,
"address":{"socket_address":{"address":"127.0.0.1","port_value":%d}},"filter_chains":[{"filters":[{"name":"echo",
"typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}]}]}]}`, direction, port)
	if err := os.WriteFile(r.file("lds.json"), []byte(listener), 0o600); err != nil {
		t.Fatal(err)
	}
	var all object
	if err := json.Unmarshal(bootstrap, &all); err != nil {
		t.Fatal(err)
	}
	// Without a control plane nothing may wait for it.
	delete(all, "layered_runtime")
	all["dynamic_resources"] = object{"lds_config": object{"path_config_source": object{"path": "./lds.json"}}}
	if bootstrap, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return bootstrap
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// eventually polls for up to 15 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestReady(t *testing.T) {
	for _, c := range []struct {
		direction string
		ready     bool
		waiting   string
	}{
		{"OUTBOUND", true, ""},
		{"INBOUND", false, "the policy filter"},
		{"", false, "the control plane's first configuration"},
	} {
		t.Run(c.direction, func(t *testing.T) {
			p, _ := startEnvoy(t, c.direction)
			var ready bool
			var waiting string
			var err error
			eventually(t, "the final answer", func() bool {
				ready, waiting, err = p.admin.Ready(context.Background())
				return err == nil && ready == c.ready && waiting == c.waiting
			})
		})
	}
}

func TestAdminIsPrivate(t *testing.T) {
	p, r := startEnvoy(t, "OUTBOUND")
	eventually(t, "the admin socket", func() bool {
		_, err := p.admin.Get(context.Background(), "/ready")
		return err == nil
	})
	info, err := os.Stat(r.file(AdminSocket))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	if _, err := p.admin.Get(context.Background(), "/no-such-page"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Fatalf("got %v", err)
	}
}

// A renewed certificate must reach Envoy without a restart.
func TestEnvoyTakesNewCertificates(t *testing.T) {
	p, r := startEnvoy(t, "OUTBOUND")
	updates := func() uint64 {
		body, err := p.admin.Get(context.Background(), "/stats?filter=controlplane.*ssl_context_update_by_sds")
		if err != nil {
			return 0
		}
		return parseStats(string(body))["cluster.controlplane.client_ssl_socket_factory.ssl_context_update_by_sds"]
	}
	eventually(t, "the first certificate", func() bool { return updates() > 0 })
	before := updates()
	provision(t, r)
	eventually(t, "the second certificate", func() bool { return updates() > before })
}

func TestEnvoyDiesLoudly(t *testing.T) {
	p, _ := startEnvoy(t, "OUTBOUND")
	if err := p.process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool { return p.await(0) })
	if err := p.died(); !strings.Contains(err.Error(), "killed") {
		t.Fatalf("got %v", err)
	}
	p.stop(time.Minute, quiet) // must not wait for who is gone
}

func TestPrefixer(t *testing.T) {
	var out safeBuffer
	p := &prefixer{out: &out}
	for i := range 30 {
		fmt.Fprintf(p, "line %d\npart", i)
		fmt.Fprint(p, "ial\n")
	}
	fmt.Fprint(p, strings.Repeat("x", 2*maxLine+1))
	p.flush()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 63 || lines[0] != "envoy: line 0" || lines[1] != "envoy: partial" || lines[62] != "envoy: x" {
		t.Fatalf("%d lines: %.200q", len(lines), lines)
	}
	if n := len(strings.Split(p.last(), "\n")); n != keptLines {
		t.Fatalf("%d lines kept", n)
	}
}

func TestSecretsStayOutOfTheEnvironment(t *testing.T) {
	got := withoutSecrets([]string{"PATH=/bin", "WASMESH_JOIN_TOKEN=x", "LANG=C"})
	if strings.Join(got, " ") != "PATH=/bin LANG=C" {
		t.Fatalf("got %v", got)
	}
}
