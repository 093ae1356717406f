package wasmtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// probe is testdata/probe, compiled once for all tests.
var (
	probe     *wasmtest.Module
	probeCode []byte
	cache     = wazero.NewCompilationCache()
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "wasmtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "probe.wasm")
	if err = wasmtest.Build(ctx, "testdata/probe", file); err == nil {
		if probeCode, err = os.ReadFile(file); err == nil {
			probe, err = wasmtest.Compile(ctx, probeCode, wasmtest.WithCache(cache))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer probe.Close(ctx)
	if guard, err = wasmtest.Load(ctx, "testdata/guard", wasmtest.WithCache(cache)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer guard.Close(ctx)
	return m.Run()
}

// startProbe starts the probe with a plugin configuration, one line each.
func startProbe(t *testing.T, options wasmtest.Options, config ...string) *wasmtest.Plugin {
	t.Helper()
	p, err := probe.StartPlugin(t.Context(), options, plugin(config...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.VM().Close(context.Background()) })
	return p
}

func plugin(config ...string) wasmtest.PluginConfig {
	return wasmtest.PluginConfig{Name: "probe", RootID: "root", Configuration: []byte(strings.Join(config, "\n"))}
}

// request sends headers that tell the probe what to do.
func request(t *testing.T, p *wasmtest.Plugin, commands string, more ...string) (*wasmtest.Stream, wasmtest.Result) {
	t.Helper()
	s := p.HTTP(wasmtest.StreamInfo{Properties: wasmtest.Properties{}})
	headers := append(wasmtest.Pairs(":path", "/p", "x-request-do", commands), wasmtest.Pairs(more...)...)
	return s, s.RequestHeaders(t.Context(), headers, true)
}

// logged reports whether the VM logged the line.
func logged(vm *wasmtest.VM, message string) bool {
	return slices.ContainsFunc(vm.Logs(), func(l wasmtest.LogLine) bool { return l.Message == message })
}

func wantLogged(t *testing.T, vm *wasmtest.VM, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if !logged(vm, m) {
			t.Errorf("no log line %q in:\n%s", m, transcript(vm))
		}
	}
}

func transcript(vm *wasmtest.VM) string {
	var b strings.Builder
	for _, l := range vm.Logs() {
		fmt.Fprintf(&b, "%s %d %s\n", l.Level, l.Context, l.Message)
	}
	return b.String()
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
