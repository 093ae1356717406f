package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/redirect/netfilter"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

const (
	trustDomain = "capture.test"
	// readyTimeout bounds the start of a sidecar: Envoy compiles the module.
	readyTimeout = 30 * time.Second
	// applyTimeout is how late an edit may be in force.
	applyTimeout = 5 * time.Second
)

// plane is a control plane of the parts that ship, fed with objects instead of a
// folder.
type plane struct {
	authority *ca.Authority
	server    *serve.Server
	module    string
	folder    string
	xds, join net.Listener
	snapshot  atomic.Pointer[mesh.Snapshot]
}

func startPlane(t *testing.T) *plane {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &plane{folder: sharedFolder(t)}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p.authority = must[*ca.Authority](t)(ca.Open(filepath.Join(t.TempDir(), "state"), ca.Options{TrustDomain: trustDomain, LeafLifetime: ca.DefaultLeafLifetime}))
	p.server = serve.New(log)
	p.xds = must[net.Listener](t)(new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(node4, 0).String()))
	p.join = must[net.Listener](t)(new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(node4, 0).String()))
	p.keepModule(t)
	tls, err := p.authority.MutualTLS([]string{node4.String()})
	check(t, err)
	parts := []func() error{
		func() error { return p.server.Run(ctx) },
		func() error { return p.server.Serve(ctx, p.xds, tls) },
		func() error { return p.authority.Serve(ctx, p.join, []string{node4.String()}, p.accountOf, log) },
	}
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part() }()
	}
	t.Cleanup(func() {
		cancel()
		for range parts {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// sharedFolder is one that the user of the sidecars can read.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir := must[string](t)(os.MkdirTemp("", "capture"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	return dir
}

// keepModule puts the module where sidecars look for it.
func (p *plane) keepModule(t *testing.T) {
	t.Helper()
	code := must[[]byte](t)(os.ReadFile(programs.Module))
	sum := sha256.Sum256(code)
	p.module = hex.EncodeToString(sum[:])
	check(t, os.Mkdir(filepath.Join(p.folder, "modules"), 0o755))
	check(t, os.WriteFile(filepath.Join(p.folder, "modules", p.module+".wasm"), code, 0o644))
	for _, program := range []*string{&programs.Sidecar, &programs.Envoy, &programs.Redirect} {
		copied := filepath.Join(p.folder, filepath.Base(*program))
		if err := os.Link(*program, copied); err != nil {
			check(t, copyFile(*program, copied))
		}
		check(t, os.Chmod(copied, 0o755))
		*program = copied
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (p *plane) accountOf(workload mesh.Name) (mesh.Name, bool) {
	s := p.snapshot.Load()
	if s == nil {
		return mesh.Name{}, false
	}
	w, ok := s.Workload(workload)
	return w.ServiceAccount, ok
}

// publish resolves objects as a control plane does and gives them to the sidecars.
func (p *plane) publish(t *testing.T, o smi.Objects) {
	t.Helper()
	snapshot, problems := smi.Snapshot(o, smi.Settings{TrustDomain: trustDomain, Kubernetes: true})
	for _, problem := range problems {
		t.Fatalf("the test's own objects have a problem: %s", problem)
	}
	p.snapshot.Store(snapshot)
	check(t, p.server.Publish(t.Context(), snapshot, xds.Settings{Module: p.module, LeafLifetime: ca.DefaultLeafLifetime}))
}

// capture redirects a pod's connections, by the program that ships.
func (p *plane) capture(t *testing.T, s *space, flags ...string) {
	t.Helper()
	var said strings.Builder
	command := exec.Command(programs.Redirect, flags...)
	command.Stderr = &said
	check(t, s.start(command, 0))
	if err := command.Wait(); err != nil {
		t.Fatalf("wasmesh-redirect in %s: %v: %s", s.name, err, said.String())
	}
}

// sidecar starts one in a pod and returns its Envoy's admin interface.
func (p *plane) sidecar(t *testing.T, s *space, workload mesh.Name) sidecar.Admin {
	t.Helper()
	dir := filepath.Join(p.folder, s.name)
	check(t, os.Mkdir(dir, 0o755))
	check(t, os.Chown(dir, redirect.ProxyUID, redirect.ProxyUID))
	token := must[string](t)(p.authority.CreateToken(workload, time.Minute))
	file := filepath.Join(dir, "token")
	check(t, os.WriteFile(file, []byte(token), 0o644))
	log := must[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "log")))
	command := exec.Command(programs.Sidecar,
		"--join-url", "https://"+p.join.Addr().String(), "--xds", p.xds.Addr().String(), "--token-file", file,
		"--state", filepath.Join(dir, "state"), "--run", filepath.Join(dir, "run"), "--modules", filepath.Join(p.folder, "modules"),
		"--envoy", programs.Envoy, "--concurrency", "1", "--drain-time", "0s")
	command.Stdout, command.Stderr = log, log
	check(t, s.start(command, redirect.ProxyUID))
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("the sidecar of %s: %v", s.name, err)
		}
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the sidecar of %s said:\n%s", s.name, text)
		}
	})
	return sidecar.Admin{Socket: filepath.Join(dir, "run", sidecar.AdminSocket)}
}

// until fails the test unless probe returns nil in time.
func until(t *testing.T, limit time.Duration, what string, probe func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := probe()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settled waits until a sidecar serves and has taken all of its configuration.
func (p *plane) settled(t *testing.T, admin sidecar.Admin, workload mesh.Name) {
	t.Helper()
	until(t, readyTimeout, "the sidecar of "+workload.String(), func() error {
		ready, waiting, err := admin.Ready(t.Context())
		if err != nil || !ready {
			return fmt.Errorf("it waits for %s (%w)", waiting, errors.Join(err))
		}
		waiting = "its stream"
		for _, proxy := range p.server.Proxies() {
			if proxy.Name == workload {
				waiting = fmt.Sprint(proxy.Waiting)
			}
			if proxy.Name == workload && len(proxy.Refusals) > 0 {
				t.Fatalf("%s refused its configuration: %+v", workload, proxy.Refusals)
			}
			if proxy.Name == workload && proxy.Settled {
				return nil
			}
		}
		return errors.New("it has not taken everything: " + waiting)
	})
}

// counted returns how many connections the rules of that name have seen.
func counted(t *testing.T, s *space, chain redirect.Chain, name string) uint64 {
	t.Helper()
	var all []netfilter.Counter
	var err error
	s.do(func() { all, err = netfilter.Counters() })
	check(t, err)
	var packets uint64
	found := false
	for _, c := range all {
		if c.Chain == chain && c.Name == name {
			packets, found = packets+c.Packets, true
		}
	}
	if !found {
		t.Fatalf("%s has no rule %q in chain %s", s.name, name, chain)
	}
	return packets
}

// testWriter gives a log to the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
