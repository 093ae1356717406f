package badinput

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// variant is a module that no sidecar must ever run.
type variant struct {
	name string
	wasm []byte
	// cause is what the operator must be told.
	cause string
}

func goodModule(t *testing.T) []byte {
	t.Helper()
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// otherModule is as good, and has another digest: it ends with a section that
// nobody reads. Whatever compiler made it, it is no small file.
func otherModule(t *testing.T) []byte {
	t.Helper()
	const custom, name = 0, "\x05other"
	section := append([]byte(name), make([]byte, smallFile)...)
	wasm := binary.AppendUvarint(append(goodModule(t), custom), uint64(len(section)))
	return append(wasm, section...)
}

func built(t *testing.T, pkg string, arguments ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "module.wasm")
	if err := wasmtest.Build(t.Context(), pkg, out, arguments...); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func stubborn(t *testing.T, manner string) []byte {
	t.Helper()
	return built(t, filepath.Join("testdata", "stubborn"), "-ldflags=-X main.manner="+manner)
}

// badModules are in the order of the trouble they make.
func badModules(t *testing.T) []variant {
	t.Helper()
	good := goodModule(t)
	garbage := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(garbage) // never fails
	return []variant{
		{"empty", nil, "does not begin with"},
		{"truncated", bytes.Clone(good[:len(good)/2]), "truncated"},
		{"garbage", garbage, "does not begin with"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "component"},
		{"foreign", []byte("\x00asm\x01\x00\x00\x00"), "proxy_abi_version_0_2"},
		{"refuses to start", stubborn(t, "refuse"), "stubborn was built to refuse"},
		{"panics at start", stubborn(t, "panic"), "stubborn was built to panic"},
		{"loops at start", stubborn(t, "loop"), "it takes longer than"},
		{"100 MB", append(bytes.Clone(good), make([]byte, 100<<20-len(good))...), "at most"},
	}
}
