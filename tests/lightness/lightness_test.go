package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
	"github.com/wasmesh/wasmesh/tests/rig/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("lightness", filepath.Join("..", ".."), &programs, m.Run))
}

// TestMemory is the program's short form for the module under test. What takes
// how long is left to the program: on a busy machine it says nothing.
func TestMemory(t *testing.T) {
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	bar, err := barsOf(module.Compiler(wasm))
	if err != nil {
		t.Fatal(err)
	}
	f, err := measure(t.Context(), programs, options{requests: 100_000, starts: 1}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	bar.active = activeTimeout
	if err := f.missed(bar); err != nil {
		t.Error(err)
	}
}

// TestTheModuleAskedForIsUnderTest: a run for TinyGo's build must not judge
// another one because a variable was misspelt or a file mistaken.
func TestTheModuleAskedForIsUnderTest(t *testing.T) {
	asked := os.Getenv(module.Variable)
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	want := module.Go
	if strings.Contains(filepath.Base(asked), "tinygo") {
		want = module.TinyGo
	}
	if got := module.Compiler(wasm); got != want {
		t.Errorf("%s=%q: the module under test was made by %s, not %s", module.Variable, asked, got, want)
	}
	if asked == "" {
		return
	}
	named, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	if store.Digest(named) != store.Digest(wasm) {
		t.Errorf("%s is not the module under test, %s", asked, programs.Module)
	}
}

func TestBarsAreReported(t *testing.T) {
	good := figures{
		compiler: module.TinyGo, active: []time.Duration{time.Second / 4}, memory: []int{35 << 20},
		soak: slowly(35<<20, 0), took: time.Second,
	}
	late, big, growing := good, good, good
	late.active = []time.Duration{time.Second}
	big.memory = []int{41 << 20}
	growing.soak = slowly(35<<20, 200<<10)
	foreign := good
	foreign.compiler = "another"
	for name, c := range map[string]struct {
		figures
		want string
	}{
		"good": {good, ""}, "late": {late, "later than"}, "big": {big, "more than"}, "growing": {growing, "grew by"}, "foreign": {foreign, "no bars"},
	} {
		var out bytes.Buffer
		err := report(&out, options{requests: samples, starts: 1}, []figures{c.figures})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// slowly is memory that grows by step from each sample to the next, in bytes.
func slowly(first, step int) []int {
	var soak []int
	for i := range samples {
		soak = append(soak, first+i*step)
	}
	return soak
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-requests", "100", "-starts", "2", "bin/a.wasm", "bin/b.wasm"}, t.Output())
	if err != nil || o.requests != 100 || o.starts != 2 || len(o.modules) != 2 || !filepath.IsAbs(o.modules[0]) {
		t.Errorf("parsed %+v, %v", o, err)
	}
	for _, wrong := range [][]string{nil, {"-starts", "0", "a.wasm"}, {"-requests", "1", "a.wasm"}} {
		if _, err := parse(wrong, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}
