// Package store keeps modules in a folder, each under the digest of its bytes.
//
// What is in it never changes: a name is the sha256 of the content. It never
// holds half a file, and never asks whether a module is any good; that is
// module's question.
package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// At is a store whose folder need not be there yet: it is made when something is
// to be kept.
func At(dir string) Store { return Store{dir} }

// Exists reports whether there is a file for the module, whatever is in it.
func (s Store) Exists(digest string) bool {
	_, err := os.Stat(s.Path(digest))
	return err == nil
}

// Digest is the name of a module: its sha256 in hexadecimal.
func Digest(wasm []byte) string {
	sum := sha256.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}

// Path is where the module of that digest is, if it is there.
func (s Store) Path(digest string) string { return filepath.Join(s.dir, digest+suffix) }

// IsDigest says whether a name can be one: what it says goes into paths.
func IsDigest(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == sha256.Size && name == strings.ToLower(name)
}

// ErrOther is wrapped when content is not what its digest promises.
var ErrOther = errors.New("the content is not that of the digest")

// Put keeps a module and returns its digest.
func (s Store) Put(wasm []byte) (string, error) {
	digest := Digest(wasm)
	return digest, s.Receive(digest, bytes.NewReader(wasm), int64(len(wasm)))
}

// Has reports whether the module is there, whole: it reads all of it.
func (s Store) Has(digest string) bool {
	f, err := s.Open(digest)
	if err != nil {
		return false
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == digest
}

// Open opens a module for reading. What it reads is to be verified by whoever
// relies on it.
func (s Store) Open(digest string) (*os.File, error) {
	if !IsDigest(digest) {
		return nil, fmt.Errorf("module %.80q: %w", digest, fs.ErrNotExist)
	}
	return os.Open(s.Path(digest))
}

// Receive keeps what it reads under the digest, if that is its digest and it has
// at most limit bytes. It holds no more than a few KB of it in memory. A file of
// that name whose content is not the module, as after a disk error, is replaced.
func (s Store) Receive(digest string, from io.Reader, limit int64) error {
	if !IsDigest(digest) {
		return fmt.Errorf("module %.80q: %w", digest, ErrOther)
	}
	if s.Has(digest) {
		return nil
	}
	if err := receive(s.Path(digest), digest, from, limit); err != nil {
		return fmt.Errorf("module %s: %w", s.Path(digest), err)
	}
	return nil
}

// receive writes beside the file and renames, so that no sidecar ever reads a
// part, nor a power cut leaves one.
func receive(path, digest string, from io.Reader, limit int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), partPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(from, limit+1))
	switch {
	case err == nil && n > limit:
		err = fmt.Errorf("it has more than %d bytes: %w", limit, ErrOther)
	case err == nil && hex.EncodeToString(h.Sum(nil)) != digest:
		err = fmt.Errorf("%d bytes: %w", n, ErrOther)
	}
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// List returns the digests of what is there, sorted.
func (s Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("module folder: %w", err)
	}
	var out []string
	for _, e := range entries {
		if digest, ok := strings.CutSuffix(e.Name(), suffix); ok && IsDigest(digest) {
			out = append(out, digest)
		}
	}
	return out, nil
}

// Keep removes every module but those listed, and parts that a crash left. It
// touches nothing that does not have a name of its own making. No Receive may be
// under way in the folder.
func (s Store) Keep(digests ...string) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	parts, err := filepath.Glob(filepath.Join(s.dir, partPrefix+"*"))
	if err != nil {
		return err
	}
	for _, digest := range all {
		if !slices.Contains(digests, digest) {
			parts = append(parts, s.Path(digest))
		}
	}
	for _, path := range parts {
		if removed := os.Remove(path); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

const (
	partPrefix = ".module-"
	suffix     = ".wasm"
)
