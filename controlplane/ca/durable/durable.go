// Package durable writes small secret files so that a crash, a full disk or a
// power cut leaves either the old content or the new, never a part of it.
//
// Everything it makes is readable by its owner only. It must never widen the
// permissions of what it finds, and never log or interpret content.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Dir makes sure that path is a folder that only this user can enter. A folder
// that others can read is refused, not repaired: someone may have read it.
func Dir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make folder %s: %w; choose a folder that you can write to", path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder (a link is not accepted); remove it or choose another", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("folder %s belongs to user %d, not to you (%d); choose another", path, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("folder %s holds secrets but has mode %04o; run chmod 700 on it if no one else had access", path, info.Mode().Perm())
	}
	return nil
}

// Staged is a file that is complete on disk but not yet under its name.
type Staged struct {
	temp, path string
}

// Stage writes data next to path and makes it durable. A full disk shows here,
// before the caller has committed to anything. The caller must end it with one
// of Replace, Create or Update, or with Discard.
func Stage(path string, data []byte) (*Staged, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // CreateTemp's mode is 0600
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", path, err)
	}
	s := &Staged{temp: f.Name(), path: path}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		s.Discard()
		return nil, fmt.Errorf("cannot write %s: %w; check the free space and the permissions", path, err)
	}
	return s, nil
}

// Discard removes what was staged; after a commit it does nothing.
func (s *Staged) Discard() { _ = os.Remove(s.temp) }

// Replace commits, whether or not there was a file before.
func (s *Staged) Replace() error {
	if err := os.Rename(s.temp, s.path); err != nil {
		s.Discard()
		return fmt.Errorf("cannot write %s: %w", s.path, err)
	}
	return syncDir(s.path)
}

// Create commits only if there is no such file yet; otherwise the error is
// fs.ErrExist. Of several processes that create one file, exactly one succeeds.
func (s *Staged) Create() error {
	defer s.Discard()
	if err := os.Link(s.temp, s.path); err != nil {
		return fmt.Errorf("cannot create %s: %w", s.path, err)
	}
	return syncDir(s.path)
}

// Update commits only if the file is still there; otherwise the error is
// fs.ErrNotExist. A file that someone removed stays removed.
func (s *Staged) Update() error {
	defer s.Discard()
	if err := exchange(s.temp, s.path); err != nil {
		return fmt.Errorf("cannot update %s: %w", s.path, err)
	}
	return syncDir(s.path)
}

// Write stages and replaces in one step.
func Write(path string, data []byte) error {
	s, err := Stage(path, data)
	if err != nil {
		return err
	}
	return s.Replace()
}

// Move renames from to to, and makes that survive a power cut. Of several
// processes that move one file, exactly one succeeds; the others get
// fs.ErrNotExist.
func Move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(syncDir(to), syncDir(from))
}

// Remove removes a file, and makes that survive a power cut.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(path)
}

// syncDir makes a rename survive a power cut. Some file systems cannot do it;
// the rename itself holds there nevertheless.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("cannot make %s durable: %w", path, err)
	}
	return nil
}

// replaceExisting is exchange for systems without an atomic one: a removal
// between its two steps is lost.
func replaceExisting(temp, path string) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
