package durable

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCommits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	stage := func(text string) *Staged {
		s, err := Stage(path, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := func(text string) {
		t.Helper()
		got, _ := os.ReadFile(path)
		left, _ := os.ReadDir(dir)
		if string(got) != text || (text != "" && len(left) != 1) || (text == "" && len(left) != 0) {
			t.Fatalf("file holds %q, folder %v; want %q alone", got, left, text)
		}
	}
	if err := stage("a").Update(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("update of a missing file: %v", err)
	}
	want("")
	if err := stage("b").Create(); err != nil {
		t.Fatal(err)
	}
	want("b")
	if err := stage("c").Create(); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v", err)
	}
	want("b")
	if err := stage("d").Update(); err != nil {
		t.Fatal(err)
	}
	want("d")
	if err := stage("e").Replace(); err != nil {
		t.Fatal(err)
	}
	want("e")
	stage("f").Discard()
	want("e")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestDirRefusesWhatOthersCanRead(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Dir(open); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Fatalf("got %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if err := Dir(link); err == nil {
		t.Fatal("a link was accepted")
	}
	if err := Dir(filepath.Join(t.TempDir(), "a", "b")); err != nil {
		t.Fatal(err)
	}
}

// A limit of zero bytes per file stands for a full disk: it works without
// privileges, in a process of its own.
func TestFullDiskLeavesOldContent(t *testing.T) {
	if dir := os.Getenv("DURABLE_FULL"); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
			t.Fatal(err)
		}
		if err := Write(filepath.Join(dir, "f"), []byte("new")); err == nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "f"), []byte("old")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskLeavesOldContent$")
	cmd.Env = append(os.Environ(), "DURABLE_FULL="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, _ := os.ReadFile(filepath.Join(dir, "f"))
	left, _ := os.ReadDir(dir)
	if string(got) != "old" || len(left) != 1 {
		t.Fatalf("file holds %q, folder %v", got, left)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second lock: %v", err)
	}
	release()
	if release, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	release()
}
