// Package store keeps modules in a folder, each under the digest of its bytes.
//
// What is in it never changes: a name is the sha256 of the content. It never
// holds half a file, and never asks whether a module is any good; that is
// module's question.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Store is a folder of modules that sidecars can read.
type Store struct{ dir string }

// Open makes the folder if it is not there.
func Open(dir string) (Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Store{}, fmt.Errorf("module folder %s: %w; choose a folder you can write to", dir, err)
	}
	return Store{dir}, nil
}

// Digest is the name of a module: its sha256 in hexadecimal.
func Digest(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// Path is where the module of that digest is, if it is there.
func (s Store) Path(digest string) string { return filepath.Join(s.dir, digest+".wasm") }

// Put keeps a module and returns its digest. A file of that name whose content
// is not the module, as after a disk error, is replaced.
func (s Store) Put(wasm []byte) (string, error) {
	digest := Digest(wasm)
	path := s.Path(digest)
	if old, err := os.ReadFile(path); err == nil && Digest(old) == digest {
		return digest, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("module %s: %w", path, err)
	}
	if err := writeWhole(path, wasm); err != nil {
		return "", fmt.Errorf("module %s: %w; is there room on the disk?", path, err)
	}
	return digest, nil
}

// writeWhole writes beside the file and renames, so that no sidecar ever reads
// a part.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".module-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
