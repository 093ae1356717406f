// Package badinput gives a real mesh what it should not be given: manifests that
// are broken, modules that do not start, tokens that do not hold, folders that
// cannot be written to, resources that Envoy refuses. Each test wants three
// things: what worked goes on working, the cause is told, and it heals.
//
// The control plane, the sidecar processes and their Envoys are those that ship.
// It must never leave a process behind, never skip, and never count a denied
// request that got through as anything but a failure.
package badinput

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	code, err := prepared(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "badinput:", err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (code int, err error) {
	// The addresses of the mesh are fixed: one run at a time. The kernel lets go
	// of the lock with the process.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "wasmesh-badinput.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "badinput")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if programs, err = rig.Build(context.Background(), dir, filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
