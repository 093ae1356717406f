package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Leftovers lists the processes, other than this one, that have to do with one
// of the folders or belong to one of the groups: those whose working directory,
// command line or open files lie in a folder.
func Leftovers(folders []string, groups []int) ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for leftovers: %w", err)
	}
	var out []string
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		if p := (proc{id}); p.alive() && (slices.Contains(groups, p.group()) || slices.ContainsFunc(folders, p.uses)) {
			out = append(out, fmt.Sprintf("%d (%s)", id, p.command()))
		}
	}
	return out, nil
}

// proc is a process as /proc shows it. One that ends meanwhile has nothing.
type proc struct{ id int }

func (p proc) path(name string) string { return filepath.Join("/proc", strconv.Itoa(p.id), name) }

// stat returns the fields of /proc/<id>/stat that follow the name, which is in
// parentheses and may contain any: state, parent, group and so on.
func (p proc) stat() []string {
	text, _ := os.ReadFile(p.path("stat"))
	_, rest, _ := strings.Cut(string(text[max(bytes.LastIndexByte(text, ')'), 0):]), ")")
	return strings.Fields(rest)
}

// alive is false for one that ended and waits for its parent to take note.
func (p proc) alive() bool {
	fields := p.stat()
	return len(fields) > 2 && fields[0] != "Z" && fields[0] != "X"
}

func (p proc) group() int {
	fields := p.stat()
	if len(fields) < 3 {
		return 0
	}
	id, _ := strconv.Atoi(fields[2])
	return id
}

func (p proc) command() string {
	text, _ := os.ReadFile(p.path("cmdline"))
	return fmt.Sprintf("%.120s", strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " ")))
}

func (p proc) uses(folder string) bool {
	if folder == "" {
		return false
	}
	inside := func(path string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
	if at, err := os.Readlink(p.path("cwd")); err == nil && inside(at) {
		return true
	}
	text, _ := os.ReadFile(p.path("cmdline"))
	for arg := range strings.SplitSeq(string(text), "\x00") {
		if inside(arg) || strings.Contains(arg, "="+folder+"/") {
			return true
		}
	}
	files, _ := filepath.Glob(p.path("fd/*"))
	return slices.ContainsFunc(files, func(f string) bool {
		at, err := os.Readlink(f)
		return err == nil && inside(at)
	})
}
