package main

import (
	"errors"
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
	for round := range 5 {
		got := s.ask(t, grantedPath, hpack.HeaderField{Name: "x-panic", Value: "now"})
		if compiler == module.Go && got != "403" || got == "200" {
			t.Errorf("round %d: a panic is answered %q", round, got)
		}
		begun, refused := time.Now(), 0
		for s.ask(t, grantedPath) != "200" {
			refused++
			if got := s.ask(t, deniedPath); got == "200" {
				t.Fatalf("round %d: while the filter is away, %s passes", round, deniedPath)
			}
			if time.Since(begun) > healTimeout {
				t.Fatalf("round %d: nothing passes after %v", round, healTimeout)
			}
		}
		if got := s.ask(t, deniedPath); got != "403" {
			t.Errorf("round %d: afterwards, %s was answered %q", round, deniedPath, got)
		}
		if compiler == module.Go && refused > 0 {
			t.Errorf("round %d: %d granted requests were refused after a panic that was recovered", round, refused)
		}
		t.Logf("round %d: the panic was answered %q; whole again after %v, in which %d granted requests were refused",
			round, got, time.Since(begun).Round(time.Millisecond), refused)
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

// closed is the answer of a connection that was ended.
const closed = "closed"

// ask sends one request on a connection of its own and returns the status of its
// answer.
func (s *sidecar) ask(t *testing.T, path string, more ...hpack.HeaderField) string {
	t.Helper()
	c, err := dial(t.Context(), s.client)
	if err != nil {
		return closed
	}
	defer c.close()
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		t.Fatal(err)
	}
	if err := c.send(path, "", more...); err != nil {
		return closed
	}
	if err := c.out.Flush(); err != nil {
		return closed
	}
	for len(c.want) > 0 {
		if err := c.read(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return closed
		}
	}
	return c.last
}
