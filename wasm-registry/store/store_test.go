package store

import (
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T) Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "modules"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPutNamesTheFileByItsContent(t *testing.T) {
	s := open(t)
	digest, err := s.Put([]byte("module"))
	if err != nil || digest != Digest([]byte("module")) {
		t.Fatalf("got %q, %v", digest, err)
	}
	if got, err := os.ReadFile(s.Path(digest)); err != nil || string(got) != "module" {
		t.Errorf("got %q, %v", got, err)
	}
	again, err := s.Put([]byte("module"))
	if err != nil || again != digest {
		t.Errorf("the same module again: %q, %v", again, err)
	}
	if entries, _ := os.ReadDir(s.dir); len(entries) != 1 {
		t.Errorf("%d files for one module", len(entries))
	}
}

func TestPutReplacesWhatIsNotTheModule(t *testing.T) {
	s := open(t)
	path := s.Path(Digest([]byte("module")))
	if err := os.WriteFile(path, []byte("mod"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put([]byte("module")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "module" {
		t.Errorf("a damaged file stayed: %q", got)
	}
}

func TestPutLeavesNothingBehindWhenItFails(t *testing.T) {
	s := open(t)
	if err := os.MkdirAll(filepath.Join(s.Path(Digest([]byte("module"))), "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put([]byte("module")); err == nil {
		t.Fatal("wrote over a folder")
	}
	if entries, _ := os.ReadDir(s.dir); len(entries) != 1 {
		t.Errorf("%d entries, want the folder alone", len(entries))
	}
}

func TestOpenNamesTheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "modules")); err == nil {
		t.Error("a folder below a file was opened")
	}
}
