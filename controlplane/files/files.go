// Package files is the source of objects for a mesh without Kubernetes: a
// folder of the same manifests that kubectl would apply.
//
// It reads, decodes and watches; what the fields mean is package smi's affair.
// Documents are decoded one by one, so that a broken one harms only itself, and
// every problem can be located by file and line. It must never write to the
// folder, never follow it out through a folder link, and never take a file that
// it could not read for an empty one.
package files

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// Limits that keep a wrong folder, such as "/", from being read to the end.
const (
	// MaxFileBytes is the largest manifest file. etcd takes objects up to 1.5 MB.
	MaxFileBytes = 4 << 20
	// MaxFiles is how many manifest files a folder holds at most.
	MaxFiles = 5_000
	// maxProblems is after how many problems a file is given up.
	maxProblems = 100
	// maxEntries bounds the walk over whatever else lies in the folder.
	maxEntries = 100_000
)

// Loaded is what one reading of a folder found.
type Loaded struct {
	Objects smi.Objects
	// Problems are those of documents and files, located. They are sorted by file
	// and line.
	Problems []mesh.Problem
	// Files is the number of manifest files read.
	Files int

	entries []entry
	unread  []unread
}

// entry is one decoded object and where it was found.
type entry struct {
	object mesh.Object
	value  wire.Object
	at     position
}

// unread is a document that should have yielded an object and did not. Its name
// is empty if it could not even be read whose it was, its kind if that is none
// of those supported.
type unread struct {
	file string
	kind string
	name mesh.Name
}

// Load reads all manifests below dir, or the one file that dir names. Only a
// folder that cannot be listed, or that is far too large, is an error; all
// that is wrong inside is a Problem.
func Load(dir string) (Loaded, error) {
	return loadInto(dir, decoder{})
}

func loadInto(dir string, d decoder) (Loaded, error) {
	paths, err := manifests(dir)
	if err != nil {
		return Loaded{}, err
	}
	for _, path := range paths {
		text, err := read(path)
		if err != nil {
			d.lines = 1
			d.fail(position{file: path, line: 1}, unread{}, err.Error()+"; what it held before stays in force.", "")
			continue
		}
		d.file(path, text)
	}
	loaded := Loaded{Files: len(paths), entries: d.entries, unread: d.unread}
	loaded.Objects = assemble(d.entries)
	for _, p := range d.problems {
		loaded.Problems = append(loaded.Problems, p.problem)
	}
	return loaded, nil
}

// manifests lists the files to read, sorted. Names that begin with a dot are
// left out: editors and ConfigMap volumes keep their working copies there.
func manifests(dir string) ([]string, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	var paths []string
	entries := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > maxEntries {
			return fmt.Errorf("%s holds more than %d files and folders; is it the right one?", dir, maxEntries)
		}
		if path == root && !e.IsDir() {
			paths = append(paths, dir)
			return nil
		}
		if path != root && isHidden(e) {
			return skip(e)
		}
		if !e.IsDir() && isManifest(path) && len(paths) <= MaxFiles {
			paths = append(paths, filepath.Join(dir, strings.TrimPrefix(path, root)))
		}
		return nil
	})
	if err == nil && len(paths) > MaxFiles {
		err = fmt.Errorf("%s holds more than %d manifest files; is it the right folder?", dir, MaxFiles)
	}
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	slices.Sort(paths)
	return paths, nil
}

func isHidden(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }

// skip leaves out an entry and all below it.
func skip(e fs.DirEntry) error {
	if e.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func isManifest(path string) bool {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// read returns a file's text. It looks before it opens: a pipe would block.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("this is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("the file is larger than %d MiB; split it", MaxFileBytes>>20)
	}
	return text, nil
}

// reason drops operation and path, which the problem's position names already.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("the file cannot be read: %w", at.Err)
	}
	return err
}

// Locate returns "file:line" of a problem: the line of its field, else of the
// nearest enclosing one, else of its object; empty if the object is not here.
func (l Loaded) Locate(p mesh.Problem) string {
	if p.Where != "" {
		return p.Where
	}
	for _, e := range l.entries {
		if e.object == p.Object {
			return e.at.field(p.Field).String()
		}
	}
	return ""
}

// byPlace orders problems as a reader meets them.
func byPlace(a, b located) int {
	return cmp.Or(strings.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line))
}
