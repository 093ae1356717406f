// Package suggest proves on a real mesh that applying what `wasmesh suggest`
// prints changes no answer: what was seen is still allowed, and what was not
// seen is denied.
//
// Control plane, sidecars, Envoys and the command are those that ship. It must
// never leave a process behind and never skip.
package suggest

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
		fmt.Fprintln(os.Stderr, "suggest:", err)
		code = 1
	}
	os.Exit(code)
}

func prepared(m *testing.M) (code int, err error) {
	// The addresses of the mesh are fixed: one run at a time. The kernel lets go
	// of the lock with the process.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "wasmesh-suggest.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "suggest")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if programs, err = rig.Build(context.Background(), dir, filepath.Join("..", "..")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
