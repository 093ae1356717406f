package wasmtest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// Envoy answers each of these with the same sentence; here every cause has a
// sentinel and a text that names it.
func TestCompileNamesWhatIsWrong(t *testing.T) {
	with := func(base tiny, imports ...tinyFunc) tiny { base.imports = imports; return base }
	cases := map[string]struct {
		wasm []byte
		want error
		text string
	}{
		"empty":         {nil, wasmtest.ErrNotWasm, `\0asm`},
		"text":          {[]byte("(module)"), wasmtest.ErrNotWasm, `\0asm`},
		"short":         {[]byte("\x00asm\x01"), wasmtest.ErrCorrupt, "5 bytes"},
		"component":     {[]byte("\x00asm\x0d\x00\x01\x00"), wasmtest.ErrComponent, "wasip1"},
		"version 2":     {[]byte("\x00asm\x02\x00\x00\x00"), wasmtest.ErrCorrupt, "version 2"},
		"truncated":     {probeCode[:len(probeCode)/2], wasmtest.ErrCorrupt, "truncated"},
		"no ABI":        {tiny{pages: 1, functions: proxyModule().functions[1:]}.bytes(), wasmtest.ErrABI, "no proxy_abi_version_0_2_0"},
		"ABI 0.1.0":     {tiny{pages: 1, functions: []tinyFunc{{name: "proxy_abi_version_0_1_0"}}}.bytes(), wasmtest.ErrABI, "0_1_0"},
		"ABI 0.3.0":     {tiny{pages: 1, functions: []tinyFunc{{name: "proxy_abi_version_0_3_0"}}}.bytes(), wasmtest.ErrABI, "0_3_0"},
		"import":        {with(proxyModule(), tinyFunc{module: "env", name: "proxy_launch"}).bytes(), wasmtest.ErrImport, "env.proxy_launch"},
		"wasi":          {with(proxyModule(), tinyFunc{module: "wasi_snapshot_preview1", name: "sock_open"}).bytes(), wasmtest.ErrImport, "sock_open"},
		"signature":     {with(proxyModule(), tinyFunc{module: "env", name: "proxy_log"}).bytes(), wasmtest.ErrImport, "proxy_log has another signature"},
		"no allocator":  {tiny{pages: 1, functions: proxyModule().functions[:1]}.bytes(), wasmtest.ErrExport, "proxy_on_memory_allocate"},
		"no memory":     {tiny{noMemory: true, functions: proxyModule().functions}.bytes(), wasmtest.ErrExport, "memory"},
		"export type":   {proxyModule(tinyFunc{name: "proxy_on_tick"}).bytes(), wasmtest.ErrExport, "proxy_on_tick"},
		"2 GiB at once": {func() []byte { m := proxyModule(); m.pages = 32768; return m.bytes() }(), wasmtest.ErrCorrupt, "memory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := wasmtest.Compile(t.Context(), c.wasm)
			if err == nil {
				_ = m.Close(t.Context())
				t.Fatal("accepted")
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v naming %q", err, c.want, c.text)
			}
		})
	}
}

// proxy_get_log_level came with ABI 0.2.1: the same import is fine there and
// unknown to Envoy in a module that declares 0.2.0.
func TestCompileKnowsWhatEachABIProvides(t *testing.T) {
	m := proxyModule()
	m.imports = []tinyFunc{{module: "env", name: "proxy_get_log_level", params: "i", result: "i"}}
	newer, err := wasmtest.Compile(t.Context(), m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close(context.Background())
	if newer.ABI() != "0.2.1" || newer.Imports()[0] != "env.proxy_get_log_level" {
		t.Errorf("got ABI %s, imports %v", newer.ABI(), newer.Imports())
	}
	m.functions[0].name = "proxy_abi_version_0_2_0"
	if _, err = wasmtest.Compile(t.Context(), m.bytes()); !errors.Is(err, wasmtest.ErrImport) {
		t.Errorf("got %v, want %v", err, wasmtest.ErrImport)
	}
}

func TestCompileAcceptsTheSDK(t *testing.T) {
	if probe.ABI() != "0.2.0" {
		t.Errorf("ABI %s", probe.ABI())
	}
	if exports := strings.Join(probe.Exports(), " "); !strings.Contains(exports, "proxy_on_configure") {
		t.Errorf("exports %s", exports)
	}
}

func TestBuildTellsTheCompilersComplaint(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"go.mod": "module m\n", "main.go": "package main\nfunc main() { wrong }\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := wasmtest.Build(t.Context(), dir, filepath.Join(dir, "m.wasm"))
	if err == nil || !strings.Contains(err.Error(), "undefined: wrong") {
		t.Errorf("got %v", err)
	}
}
