// Package connections has real applications talk through two real sidecars:
// opaque TCP in both address families, Redis, PostgreSQL, gRPC, WebSockets and
// plaintext, and takes the right away from what is open.
//
// The control plane, the sidecar processes and their Envoys are those that ship.
// It must never leave a process behind, never skip what is not installed, and
// never take a denial on the caller's word alone: the application counts too.
package connections

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
		fmt.Fprintln(os.Stderr, "connections:", err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (code int, err error) {
	// The addresses of the mesh are fixed: one run at a time. The kernel lets go
	// of the lock with the process.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "wasmesh-connections.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "connections")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if programs, err = rig.Build(context.Background(), dir, filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
