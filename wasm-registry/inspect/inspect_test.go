package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
)

// program is built without the race detector, whose memory no limit fits.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "inspect-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "inspector")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/inspector").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s", err, out)
		return 1
	}
	return m.Run()
}

// limits are short: what does not end here does not end.
func limits() inspect.Limits {
	l := inspect.DefaultLimits()
	l.Start = 2 * time.Second
	return l
}

func inspector() inspect.Inspector { return inspect.Inspector{Program: program, Limits: limits()} }

// Each hostile module is refused with its cause, and its twin without the one
// hostile thing is accepted.
func TestInspectRefusesWithTheCause(t *testing.T) {
	little := limits()
	little.Start, little.CPU = time.Minute, time.Second
	narrow := limits()
	narrow.Start, narrow.Process = time.Minute, 768<<20
	for name, c := range map[string]struct {
		module moduletest.Module
		limits inspect.Limits
		text   string
	}{
		"traps at start":   {moduletest.Trap(), limits(), "_initialize: the guest trapped"},
		"never starts":     {moduletest.Endless(), limits(), "it takes longer than 2s to start"},
		"burns processors": {moduletest.Endless(), little, "it takes more than 1s of processor time to start"},
		// The guest or its process meets its limit first, where it takes memory or where it
		// starts a thread.
		"takes memory":  {moduletest.MemoryBomb(), limits(), "_initialize: the guest trapped|1024 MiB of memory"},
		"takes a table": {moduletest.TableBomb(), narrow, "768 MiB of memory"},
		"logs for ever": {moduletest.LogFlood(), limits(), "it takes longer than 2s to start"},
		"refuses":       {moduletest.Refusing(), limits(), `"configuration 2": proxy_on_configure: the guest answered false`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := inspect.Inspector{Program: program, Limits: c.limits}
			err := i.Inspect(t.Context(), c.module.Bytes(), nil, []byte("x"))
			says := func(cause string) bool { return err != nil && strings.Contains(err.Error(), cause) }
			if !slices.ContainsFunc(strings.Split(c.text, "|"), says) || errors.Is(err, inspect.ErrUnable) {
				t.Errorf("got %v, want %q", err, c.text)
			}
			if err != nil && len(err.Error()) > 5<<10 {
				t.Errorf("the cause has %d bytes", len(err.Error()))
			}
		})
	}
	for name, m := range map[string]moduletest.Module{
		"good": moduletest.Good(), "starts": moduletest.Initialize(), "takes a configuration": moduletest.Refusing(),
	} {
		if err := inspector().Inspect(t.Context(), m.Bytes(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a real module says of itself is told, and nothing it says can play with
// the terminal.
func TestInspectQuotesTheModule(t *testing.T) {
	out := filepath.Join(t.TempDir(), "stubborn.wasm")
	if err := wasmtest.Build(t.Context(), "github.com/wasmesh/wasmesh/tests/badinput/testdata/stubborn", out); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	i := inspect.Inspector{Program: program}
	if err := i.Inspect(t.Context(), wasm); err != nil {
		t.Errorf("without a configuration there is nothing to refuse: %v", err)
	}
	err = i.Inspect(t.Context(), wasm, nil)
	if err == nil || !strings.Contains(err.Error(), "stubborn was built to refuse") {
		t.Errorf("got %v", err)
	}
}

// Nobody looked at the module: that is told apart from a bad one.
func TestInspectTellsWhenItCannot(t *testing.T) {
	for name, p := range map[string]string{
		"no program": filepath.Join(t.TempDir(), "none"), "another program": "/bin/true", "this test": os.Args[0],
	} {
		err := inspect.Inspector{Program: p}.Inspect(t.Context(), moduletest.Good().Bytes())
		if !errors.Is(err, inspect.ErrUnable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The end of ctx ends the process too.
func TestInspectEndsWithItsContext(t *testing.T) {
	script := filepath.Join(t.TempDir(), "sleeper")
	mark := filepath.Join(t.TempDir(), "pid")
	body := fmt.Sprintf("#!/bin/sh\necho $$ >%s.new; mv %s.new %s; exec sleep 1000\n", mark, mark, mark)
	if err := os.WriteFile(script, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the test is over"))
	defer cancel()
	began := time.Now()
	err := inspect.Inspector{Program: script}.Inspect(ctx, moduletest.Good().Bytes())
	if err == nil || !strings.Contains(err.Error(), "the test is over") || !errors.Is(err, inspect.ErrUnable) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	pid, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process is still there: %v", err)
	}
}

// Only the word "good" of a process that ended well makes a module good.
func TestInspectBelievesNoHalfAnswer(t *testing.T) {
	for name, c := range map[string]struct{ script, text string }{
		"cut off":       {`echo '{"phase":"start"}'; echo '{"done":'`, "breaks"},
		"and then died": {`echo '{"phase":"start"}'; echo '{"done":true}'; exit 3`, "ends badly"},
		"garbage":       {`echo '{"phase":"start"}'; echo good; echo '{"done":true}'`, "breaks"},
		"endless":       {`echo '{"phase":"start"}'; head -c 1000000 /dev/zero`, "breaks"},
	} {
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh\nPATH=/usr/bin:/bin; cat >/dev/null; "+c.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := inspect.Inspector{Program: script}.Inspect(t.Context(), moduletest.Good().Bytes())
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %q", name, err, c.text)
		}
	}
}
