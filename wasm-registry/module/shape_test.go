package module_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
)

func withABI(export string) []byte {
	m := moduletest.Good()
	m.ABI = export
	return m.Bytes()
}

// Each kind of bad file is told apart, and so is its cause.
func TestReadNamesWhatIsWrong(t *testing.T) {
	good := moduletest.LogFlood().Bytes()
	cases := map[string]struct {
		wasm []byte
		want error
		text string
	}{
		"empty":             {nil, module.ErrNotWasm, `\0asm`},
		"text":              {[]byte("(module)"), module.ErrNotWasm, `\0asm`},
		"gzip":              {[]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"), module.ErrNotWasm, `\0asm`},
		"half a magic":      {[]byte("\x00as"), module.ErrTruncated, "3 bytes"},
		"half a version":    {[]byte("\x00asm\x01"), module.ErrTruncated, "5 bytes"},
		"component":         {[]byte("\x00asm\x0d\x00\x01\x00"), module.ErrComponent, "wasip1"},
		"version 2":         {[]byte("\x00asm\x02\x00\x00\x00"), module.ErrCorrupt, "version 2"},
		"half a module":     {good[:len(good)/2], module.ErrTruncated, "are announced"},
		"without its end":   {good[:len(good)-1], module.ErrTruncated, "are announced"},
		"and then garbage":  {append(bytes.Clone(good), 0xff, 0x00), module.ErrCorrupt, "section 255"},
		"a section twice":   {append(bytes.Clone(good), 7, 1, 0), module.ErrCorrupt, "section 7"},
		"a lying section":   {[]byte("\x00asm\x01\x00\x00\x00\x07\x01\x01"), module.ErrCorrupt, "are announced"},
		"4 billion exports": {[]byte("\x00asm\x01\x00\x00\x00\x07\x05\xff\xff\xff\xff\x0f"), module.ErrCorrupt, "4294967295 entries are announced in 0 bytes"},
		"and functions":     {[]byte("\x00asm\x01\x00\x00\x00\x03\x05\xff\xff\xff\xff\x0f"), module.ErrCorrupt, "4294967295 entries"},
		"a name of 4 GB":    {[]byte("\x00asm\x01\x00\x00\x00\x00\x05\xff\xff\xff\xff\x0f"), module.ErrCorrupt, "are announced"},
		"a long number":     {[]byte("\x00asm\x01\x00\x00\x00\x07\xff\xff\xff\xff\xff\x0f"), module.ErrCorrupt, "5 bytes"},
		"33 bits":           {[]byte("\x00asm\x01\x00\x00\x00\x07\xff\xff\xff\xff\x1f"), module.ErrCorrupt, "32 bits"},
		"no ABI":            {withABI(""), module.ErrABI, "proxy_abi_version_0_2_0"},
		"ABI 0.1.0":         {withABI("proxy_abi_version_0_1_0"), module.ErrABI, "proxy_abi_version_0_1_0"},
		"ABI 0.3.0":         {withABI("proxy_abi_version_0_3_0"), module.ErrABI, "proxy_abi_version_0_3_0"},
		"too large":         {make([]byte, module.MaxBytes+1), module.ErrSize, "at most"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := module.Read(c.wasm)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v naming %q", err, c.want, c.text)
			}
		})
	}
}

func TestReadTellsWhatAModuleCallsAndAnswers(t *testing.T) {
	m := moduletest.LogFlood()
	m.Imports = append(m.Imports, moduletest.Func{Module: "wasi_snapshot_preview1", Name: "clock_time_get", Params: "iii", Result: "i"})
	m.Functions = append(m.Functions, moduletest.Func{Name: "proxy_on_done", Params: "i", Result: "i", Body: []byte{0x41, 1}})
	s, err := module.Read(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if s.ABI != "0.2.1" || strings.Join(s.Calls(), " ") != "clock_time_get proxy_log" ||
		strings.Join(s.Callbacks(), " ") != "proxy_on_done proxy_on_memory_allocate" {
		t.Errorf("got %+v: calls %v, callbacks %v", s, s.Calls(), s.Callbacks())
	}
}

// Whoever really compiles a module reads the same in it.
func TestReadAgreesWithTheCompiler(t *testing.T) {
	for name, wasm := range map[string][]byte{
		"good": moduletest.Good().Bytes(), "calls": moduletest.LogFlood().Bytes(), "table": moduletest.TableBomb().Bytes(),
		"0.2.0": withABI("proxy_abi_version_0_2_0"), "0.1.0": withABI("proxy_abi_version_0_1_0"), "none": withABI(""),
	} {
		s, err := module.Read(wasm)
		m, other := wasmtest.Compile(t.Context(), wasm)
		if (err == nil) != (other == nil) {
			t.Fatalf("%s: read: %v; compiled: %v", name, err, other)
		}
		if err != nil {
			continue
		}
		if s.ABI != m.ABI() || !slices.Equal(s.Imports, m.Imports()) || !slices.Equal(s.Exports, m.Exports()) {
			t.Errorf("%s: read %+v; compiled: %s %v %v", name, s, m.ABI(), m.Imports(), m.Exports())
		}
		_ = m.Close(context.Background())
	}
}

// FuzzRead looks for bytes that hang or crash the reader, or of which it makes
// more than is in them. It compiles nothing: found by comparing with a compiler,
// a claimed length in the right place makes that one take gigabytes.
func FuzzRead(f *testing.F) {
	for _, m := range []moduletest.Module{moduletest.Good(), moduletest.LogFlood(), moduletest.TableBomb(), {}} {
		f.Add(m.Bytes())
	}
	f.Add([]byte("\x00asm\x0d\x00\x01\x00"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\x11\xff\xff\xff\xff\r000000000000"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		s, err := module.Read(wasm)
		if err != nil {
			return
		}
		total := 0
		for _, name := range slices.Concat(s.Imports, s.Exports) {
			total += len(name)
		}
		if total > len(wasm) || !slices.IsSorted(s.Imports) || !slices.IsSorted(s.Exports) || s.ABI != "0.2.0" && s.ABI != "0.2.1" {
			t.Errorf("of %d bytes it makes %+v", len(wasm), s)
		}
		if again, err := module.Read(append(wasm, 0, 2, 1, 'x')); err != nil || !slices.Equal(again.Exports, s.Exports) {
			t.Errorf("with a custom section: %+v, %v", again, err)
		}
	})
}
