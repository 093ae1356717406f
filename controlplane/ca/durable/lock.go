package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Lock takes a folder for this process, until release is called or the process
// dies: the kernel then drops it. A second taker gets an error that wraps
// fs.ErrExist. The file "lock" may be removed by whoever holds the lock.
func Lock(dir string) (release func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock folder %s: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !isNamed(f, path) {
		// Its last holder removed the file between the two calls above: what is
		// locked now is a file that nobody else can find.
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("folder %s is in use by another process: %w; give each its own", dir, fs.ErrExist)
	}
	return func() { f.Close() }, nil
}

func isNamed(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}
