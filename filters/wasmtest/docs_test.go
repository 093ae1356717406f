package wasmtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The first filter of docs/writing-filters.md is what a newcomer types: it must
// build, and its tests must pass, in a module of its own.
func TestFirstFilterOfTheDocumentation(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "writing-filters.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n`(\\w+\\.go)`[^\n]*:\n\n```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("found %d files, want main.go and main_test.go", len(blocks))
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocks {
		write(b[1], b[2])
	}
	// The versions are the repository's own, so that nothing is downloaded.
	versions, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const own = "github.com/wasmesh/wasmesh"
	mod := strings.Replace(string(versions), "module "+own, "module example.com/hello", 1)
	write("go.mod", mod+"\nrequire "+own+" v0.0.0\n\nreplace "+own+" => "+root+"\n")
	write("go.sum", string(sums))

	cmd := exec.CommandContext(t.Context(), "go", "test", "-mod=mod", "-count=1", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}
