package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var workload = mesh.Name{Namespace: "shop", Name: "buyer-1"}

// controlPlane is a join endpoint that a test starts and stops.
type controlPlane struct {
	authority *ca.Authority
	address   string
	known     atomic.Bool
}

func newControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	a, err := ca.Open(filepath.Join(t.TempDir(), "ca"), ca.Options{TrustDomain: "mesh.test"})
	if err != nil {
		t.Fatal(err)
	}
	c := &controlPlane{authority: a, address: "127.0.0.1:0"}
	c.known.Store(true)
	return c
}

// start serves until stop is called, always at the same address.
func (c *controlPlane) start(t *testing.T) (stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", c.address)
	if err != nil {
		t.Fatal(err)
	}
	c.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.authority.Serve(ctx, ln, []string{"127.0.0.1"}, func(mesh.Name) (mesh.Name, bool) {
			return mesh.Name{Namespace: "shop", Name: "buyer"}, c.known.Load()
		}, quiet)
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (c *controlPlane) token(t *testing.T) string {
	t.Helper()
	text, err := c.authority.CreateToken(workload, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newEnrolment(t *testing.T, c *controlPlane, state, token string) *enrolment {
	t.Helper()
	r, err := openRunDir(filepath.Join(t.TempDir(), "run"), state, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	return &enrolment{proof: &joined{client: ca.Client{URL: "https://" + c.address}, token: token, stateDir: state, log: quiet}, run: r, log: quiet}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestEnrolSurvivesRestarts(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	state := t.TempDir()
	first, err := newEnrolment(t, c, state, c.token(t)).start(bounded(t))
	if err != nil || first.Workload != workload {
		t.Fatal(first.Workload, err)
	}
	for range 3 {
		e := newEnrolment(t, c, state, "")
		if _, err := e.start(bounded(t)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{IdentityFile, TrustFile} {
			info, err := os.Stat(e.run.file(name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%s: %v, %v", name, info, err)
			}
		}
	}
	kept, err := os.ReadFile(filepath.Join(state, membershipFile))
	if err != nil || strings.Contains(string(kept), "PRIVATE KEY") {
		t.Fatalf("the state folder holds a key, or nothing: %v", err)
	}
}

func TestEnrolWaitsForTheControlPlane(t *testing.T) {
	c := newControlPlane(t)
	c.start(t)() // fixes the address
	c.known.Store(false)
	e := newEnrolment(t, c, t.TempDir(), c.token(t))
	stop := make(chan func(), 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		stop <- c.start(t)
		time.Sleep(300 * time.Millisecond)
		c.known.Store(true)
	}()
	_, err := e.start(bounded(t))
	(<-stop)()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFinalAnswers(t *testing.T) {
	c, other := newControlPlane(t), newControlPlane(t)
	defer c.start(t)()
	used := c.token(t)
	if _, err := newEnrolment(t, c, t.TempDir(), used).start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		token string
		err   error
	}{
		"used":    {used, ca.ErrRefused},
		"foreign": {other.token(t), ca.ErrImpostor},
		"garbage": {"garbage", ca.ErrRequest},
		"none":    {"", errNoWay},
	} {
		if _, err := newEnrolment(t, c, t.TempDir(), want.token).start(bounded(t)); !errors.Is(err, want.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevokedMemberNeedsANewToken(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	state := t.TempDir()
	if _, err := newEnrolment(t, c, state, c.token(t)).start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if was, err := c.authority.Revoke(workload); !was || err != nil {
		t.Fatal(was, err)
	}
	if _, err := newEnrolment(t, c, state, "").start(bounded(t)); !errors.Is(err, ca.ErrRefused) {
		t.Fatalf("got %v", err)
	}
	if _, err := newEnrolment(t, c, state, c.token(t)).start(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestKeepFresh(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	e := newEnrolment(t, c, t.TempDir(), c.token(t))
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		data, err := os.ReadFile(e.run.file(IdentityFile))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := read()
	ctx, cancel := context.WithCancel(bounded(t))
	done := make(chan error, 1)
	e.current.Lifetime = 200 * time.Millisecond
	go func() { done <- e.keepFresh(ctx) }()
	eventually(t, "a new certificate", func() bool { return read() != before })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Expired and refused: only then is there no hope left.
	if _, err := c.authority.Revoke(workload); err != nil {
		t.Fatal(err)
	}
	e.current.Lifetime = time.Millisecond
	if err := e.keepFresh(bounded(t)); !errors.Is(err, ca.ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestRenewAt(t *testing.T) {
	now := time.Now()
	for random, want := range map[float64]time.Duration{0: 54, 0.5: 57, 1: 60} {
		got := renewAt(now, 120*time.Minute, random).Sub(now)
		if d := got - want*time.Minute; d > time.Second || d < -time.Second {
			t.Errorf("%v: %v", random, got)
		}
	}
}

func TestUnusableFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{StateDir: filepath.Join(file, "state"), Log: quiet}
	if err := Run(bounded(t), o); err == nil || !strings.Contains(err.Error(), "state folder") {
		t.Errorf("got %v", err)
	}
	o.StateDir, o.RunDir = filepath.Join(t.TempDir(), "state"), filepath.Join(file, "run")
	if err := Run(bounded(t), o); err == nil || !strings.Contains(err.Error(), "run folder") {
		t.Errorf("got %v", err)
	}
}

// What a killed sidecar left is gone at the next start, and the operator's own
// files are not.
func TestRunDirIsCleared(t *testing.T) {
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{IdentityFile, BootstrapFile, ".new-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log safeBuffer
	r, err := openRunDir(dir, "", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openRunDir(dir, "", quiet); err == nil {
		t.Error("two sidecars share a run folder")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if warned := strings.Contains(log.String(), "not in memory"); warned == inMemory(dir) {
		t.Errorf("in memory %v, log %s", inMemory(dir), &log)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}
