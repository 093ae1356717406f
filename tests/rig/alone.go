package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Alone waits until no other run of the tests of that name is under way: the
// addresses of a test's mesh are fixed. Whoever got it releases it; the kernel
// does so with the process.
func Alone(name string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "wasmesh-"+name+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", name, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of %s: %w", name, err), f.Close())
	}
	return f.Close, nil
}

// Main is for a TestMain: it has the tests of that name run alone, with programs
// that were built for them from the source tree whose top folder is root, and
// returns their exit code.
func Main(name, root string, programs *Programs, run func() int) int {
	code, err := prepared(name, root, programs, run)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return code
}

func prepared(name, root string, programs *Programs, run func() int) (code int, err error) {
	release, err := Alone(name)
	if err != nil {
		return 1, err
	}
	defer release()
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if *programs, err = Build(context.Background(), dir, root); err != nil {
		return 1, err
	}
	return run(), nil
}
