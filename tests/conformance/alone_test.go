package conformance

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// alone waits until no other run of this test is under way: the cast's addresses
// are fixed. The kernel lets go of the lock with the process.
func alone(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "wasmesh-conformance.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}
