package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/tests/rig/module"
)

const panics = "testdata/panics"

// healTimeout is how long nothing may pass after a panic at most. Envoy waits
// about a tenth of a second before it loads the VM again, longer each time.
const healTimeout = 10 * time.Second

// TestAPanicIsClosed is where the two builds differ: standard Go refuses the one
// request, TinyGo loses the VM. Neither ever lets through what is not granted.
func TestAPanicIsClosed(t *testing.T) {
	compiler := compilerUnderTest(t)
	failing := programs
	failing.Module = buildPanics(t, compiler)
	s, err := start(t.Context(), failing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	c := s.callers[0]
	answer := map[string]string{module.Go: "403", module.TinyGo: "503"}[compiler]
	for round := range 5 {
		if got := ask(t, c, grantedPath, hpack.HeaderField{Name: "x-panic", Value: "now"}); got != answer {
			t.Errorf("round %d: a panic is answered %s, want %s", round, got, answer)
		}
		begun, refused := time.Now(), 0
		for ask(t, c, grantedPath) != "200" {
			refused++
			if got := ask(t, c, deniedPath); got != "403" && got != "503" {
				t.Fatalf("round %d: while the filter is away, %s was answered %s", round, deniedPath, got)
			}
			if time.Since(begun) > healTimeout {
				t.Fatalf("round %d: nothing passes after %v", round, healTimeout)
			}
		}
		if got := ask(t, c, deniedPath); got != "403" {
			t.Errorf("round %d: afterwards, %s was answered %s", round, deniedPath, got)
		}
		if compiler == module.Go && refused > 0 {
			t.Errorf("round %d: %d granted requests were refused after a panic that was recovered", round, refused)
		}
		t.Logf("round %d: whole again after %v, in which %d granted requests were refused", round, time.Since(begun).Round(time.Millisecond), refused)
	}
}

func compilerUnderTest(t *testing.T) string {
	t.Helper()
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	return module.Compiler(wasm)
}

// buildPanics compiles the failing filter as the module under test was.
func buildPanics(t *testing.T, compiler string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "panics.wasm")
	if compiler == module.TinyGo {
		cmd := exec.CommandContext(t.Context(), filepath.Join("..", "..", ".ci", "tinygo"), out, "./tests/lightness/"+panics)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return out
	}
	if err := wasmtest.Build(t.Context(), panics, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// ask sends one request and returns the status of its answer.
func ask(t *testing.T, c *caller, path string, more ...hpack.HeaderField) string {
	t.Helper()
	err := c.send(path, "", more...)
	if err == nil {
		err = c.out.Flush()
	}
	for err == nil && len(c.want) > 0 {
		err = c.read()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.last
}
