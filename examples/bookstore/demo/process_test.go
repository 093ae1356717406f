package demo

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// shell starts a script as a child; its end by itself goes to the channel.
func shell(t *testing.T, dir, script string) (*Process, chan error) {
	t.Helper()
	f := newForker()
	t.Cleanup(f.close)
	ended := make(chan error, 1)
	p, err := f.start(dir, "child", "/bin/sh", []string{"-c", script}, func(p *Process) { ended <- p.end() })
	if err != nil {
		t.Fatal(err)
	}
	return p, ended
}

// said waits until the child has printed a word.
func said(t *testing.T, p *Process, word string) {
	t.Helper()
	for range 500 {
		if strings.Contains(p.tail(), word) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never said %q, but:\n%s", word, p.tail())
}

func left(t *testing.T, dir string, p *Process) []string {
	t.Helper()
	out, err := Leftovers([]string{dir}, []int{p.ID})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStopAsksFirst(t *testing.T) {
	dir := t.TempDir()
	p, ended := shell(t, dir, `trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	said(t, p, "up")
	if len(left(t, dir, p)) == 0 {
		t.Error("a running child was not found")
	}
	if err := p.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	said(t, p, "asked")
	if len(ended) > 0 {
		t.Error("a child that was stopped is reported as ended by itself")
	}
	if l := left(t, dir, p); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	dir := t.TempDir()
	p, _ := shell(t, dir, `trap '' TERM; echo up; while :; do sleep 0.05; done`)
	said(t, p, "up")
	if err := p.stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("got %v", err)
	}
}

func TestStopFindsChildrenOfChildren(t *testing.T) {
	dir := t.TempDir()
	p, _ := shell(t, dir, `sleep 60 & echo up; wait`)
	said(t, p, "up")
	if n := len(left(t, dir, p)); n < 2 {
		t.Errorf("%d processes were found instead of two", n)
	}
	if err := p.stop(10 * time.Second); err == nil || !strings.Contains(err.Error(), "left children") {
		t.Errorf("got %v", err)
	}
	for range 500 {
		if len(left(t, dir, p)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("left: %v", left(t, dir, p))
}

func TestAnEndByItselfIsToldWithTheLastWords(t *testing.T) {
	p, ended := shell(t, t.TempDir(), `echo 'level=WARN msg=alas'; echo fine; exit 3`)
	err := <-ended
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "alas") {
		t.Errorf("got %v", err)
	}
	if c := p.Complaints(); len(c) != 1 || !strings.Contains(c[0], "alas") {
		t.Errorf("complaints: %q", c)
	}
}

// The search must see what only has a file of the folder open.
func TestLeftoversSeesOpenFiles(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "kept")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := shell(t, elsewhere, `cd /; exec 9<`+file+`; echo up; exec sleep 60`)
	said(t, p, "up")
	found, err := Leftovers([]string{dir}, nil)
	if err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
	if err := p.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestAddressesInUseAreTold(t *testing.T) {
	w := mesh.Workload{Address: netip.MustParseAddr("127.12.0.1"), Application: netip.MustParseAddr("127.12.0.2"), Ports: []mesh.WorkloadPort{{Port: 14097}}}
	s := &mesh.Snapshot{Workloads: []mesh.Workload{w}}
	if err := allFree(s); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.12.0.2:14097")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := allFree(s); err == nil || !strings.Contains(err.Error(), "127.12.0.2:14097 is in use") {
		t.Errorf("got %v", err)
	}
}

func TestTwoDemosDoNotShareAddresses(t *testing.T) {
	one := &Mesh{Snapshot: &mesh.Snapshot{Workloads: []mesh.Workload{{Address: netip.MustParseAddr("127.12.0.9")}}}}
	if err := one.claim(); err != nil {
		t.Fatal(err)
	}
	two := &Mesh{Snapshot: one.Snapshot}
	if err := two.claim(); err == nil || !strings.Contains(err.Error(), "another demo is running") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(two.removeFolders(), one.removeFolders()); err != nil {
		t.Error(err)
	}
	if err := two.claim(); err != nil {
		t.Errorf("the claim outlived its demo: %v", err)
	}
	if err := two.removeFolders(); err != nil {
		t.Error(err)
	}
}
