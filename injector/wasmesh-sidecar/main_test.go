package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// buildOnce builds the program as it is delivered; -race of the test does not
// reach it, and need not: its packages have tests of their own.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wm")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "wasmesh-sidecar")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := buildOnce(); err == nil {
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

func realEnvoy(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no real Envoy")
	}
	found, err := envoy.Find(context.Background(), envoy.ToolsDir(filepath.Join("..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(found.Path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a running wasmesh-sidecar.
type process struct {
	cmd    *exec.Cmd
	ready  chan struct{}
	ended  chan struct{}
	stderr *output
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// folders are a state and a run folder, with paths that leave room for a socket.
type folders struct{ state, run string }

func newFolders(t *testing.T) folders {
	t.Helper()
	dir, err := os.MkdirTemp("", "wm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return folders{filepath.Join(dir, "state"), filepath.Join(dir, "run")}
}

func start(t *testing.T, d *dummy, f folders, token string, more ...string) *process {
	t.Helper()
	envoyPath := realEnvoy(t)
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{ready: make(chan struct{}), ended: make(chan struct{}), stderr: &output{}}
	p.cmd = exec.Command(binary, append([]string{"--join-url", d.join, "--xds", d.xds, "--state", f.state, "--run", f.run,
		"--envoy", envoyPath, "--concurrency", "1", "--drain-time", "200ms"}, more...)...)
	p.cmd.Env = append(os.Environ(), tokenVariable+"="+token)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s := bufio.NewScanner(stdout)
		for s.Scan() {
			if s.Text() == "ready" {
				close(p.ready)
			}
		}
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Log(p.stderr)
		}
	})
	return p
}

func (p *process) await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
}

// envoys lists the processes that run from the run folder.
func envoys(t *testing.T, run string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(all) == 0 {
		t.Skip("there is no /proc here")
	}
	var found []int
	for _, path := range all {
		line, _ := os.ReadFile(path) // processes come and go
		if bytes.Contains(line, []byte(filepath.Join(run, sidecar.BootstrapFile))) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			found = append(found, pid)
		}
	}
	return found
}

func wantNoEnvoy(t *testing.T, run string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(envoys(t, run)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("envoy survived: %v", envoys(t, run))
		}
	}
}

// wantNoKey allows nothing in the run folder but the lock.
func wantNoKey(t *testing.T, run string) {
	t.Helper()
	left, err := os.ReadDir(run)
	if err != nil || len(left) > 1 || len(left) == 1 && left[0].Name() != "lock" {
		t.Errorf("left in the run folder: %v, %v", left, err)
	}
}

// A member of the mesh, from its first start to a reboot.
func TestLife(t *testing.T) {
	d, f := startDummy(t), newFolders(t)
	token, err := d.authority.CreateToken(workload, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	first := start(t, d, f, token)
	first.await(t, "ready", first.ready)
	c, err := net.Dial("tcp", d.echo)
	if err != nil {
		t.Fatalf("ready, but the listener does not accept: %v", err)
	}
	c.Close()
	pids := envoys(t, f.run)
	if len(pids) != 1 {
		t.Fatalf("envoys: %v", pids)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids[0])); err == nil && bytes.Contains(env, []byte(token)) {
		t.Error("envoy can read the join token")
	}
	if _, err := (sidecar.Admin{Socket: filepath.Join(f.run, sidecar.AdminSocket)}).Get(context.Background(), "/stats"); err != nil {
		t.Error(err)
	}
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	first.await(t, "the end", first.ended)
	if code := first.cmd.ProcessState.ExitCode(); code != exitFine {
		t.Errorf("exit code %d", code)
	}
	wantNoEnvoy(t, f.run)
	wantNoKey(t, f.run)

	// The same token again: it is used, but not needed.
	second := start(t, d, f, token)
	second.await(t, "ready after a restart", second.ready)
	if err := second.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	second.await(t, "the end", second.ended)
	wantNoEnvoy(t, f.run)

	third := start(t, d, f, "")
	third.await(t, "ready after a crash", third.ready)
	pids = envoys(t, f.run)
	if len(pids) != 1 {
		t.Fatalf("envoys: %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	third.await(t, "the end after Envoy's", third.ended)
	if code := third.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(third.stderr.String(), "envoy ended by itself") {
		t.Errorf("exit code %d", code)
	}
	wantNoKey(t, f.run)
}

func TestSIGTERMWhileJoining(t *testing.T) {
	f := newFolders(t)
	d := startDummy(t)
	token, err := d.authority.CreateToken(workload, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	away := listen(t)
	away.Close()
	d.join = "https://" + away.Addr().String()
	p := start(t, d, f, token)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.stderr.String(), "trying again"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not try again")
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await(t, "the end", p.ended)
	if code := p.cmd.ProcessState.ExitCode(); code != exitFine {
		t.Errorf("exit code %d", code)
	}
	wantNoKey(t, f.run)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--nope"}, {"x"},
		{"--join-url", "https://a:1", "--xds", "a:1", "--state", "s", "--log-level", "loud"},
		{"--join-url", "https://a:1", "--xds", "a:1", "--state", "s", "--envoy", "/no/such/envoy"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), args, &out, &out); code != exitUsage || out.Len() == 0 {
			t.Errorf("%v: exit code %d, %s", args, code, &out)
		}
	}
	var out bytes.Buffer
	if code := run(context.Background(), []string{"--help"}, &out, &out); code != exitFine || !strings.Contains(out.String(), "-join-url") {
		t.Errorf("--help: exit code %d, %s", code, &out)
	}
}

func TestTokenLeavesTheEnvironment(t *testing.T) {
	t.Setenv(tokenVariable, " secret\n")
	got, err := readToken("", nil)
	if err != nil || got != "secret" || os.Getenv(tokenVariable) != "" {
		t.Fatalf("%q, %v, still set: %v", got, err, os.Getenv(tokenVariable) != "")
	}
}
