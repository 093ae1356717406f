// Package module says which compiled filter module the tests judge: a build
// of the source tree by the Go command, or the file that they were told of.
//
// It never takes another one than it was told of, and never looks at how a
// module behaves.
package module

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// Variable is the environment variable that names the module to judge, as
// `make test TINYGO=1` does. The path is absolute: each test has a working
// folder of its own.
const Variable = "WASMESH_MODULE"

const source = "github.com/wasmesh/wasmesh/filters/modules/mesh"

// The compilers that build the module.
const (
	Go     = "Go"
	TinyGo = "TinyGo"
)

// UnderTest returns the path of the module that the tests judge. Without the
// variable it is built into dir, so that no test judges a module of yesterday.
func UnderTest(ctx context.Context, dir string) (string, error) {
	if file := os.Getenv(Variable); file != "" {
		if !filepath.IsAbs(file) {
			return "", fmt.Errorf("%s=%s is not an absolute path", Variable, file)
		}
		if _, err := os.Stat(file); err != nil {
			return "", fmt.Errorf("the module that %s names: %w; run make modules TINYGO=1", Variable, err)
		}
		return file, nil
	}
	file := filepath.Join(dir, "mesh.wasm")
	return file, wasmtest.Build(ctx, source, file)
}

// Compile returns the module that the tests judge, ready to start in wazero, and
// who made it.
func Compile(ctx context.Context) (m *wasmtest.Module, compiler string, err error) {
	dir, err := os.MkdirTemp("", "module")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	file, err := UnderTest(ctx, dir)
	if err != nil {
		return nil, "", err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	m, err = wasmtest.Compile(ctx, wasm)
	return m, Compiler(wasm), err
}

// Compiler tells who made a module of ours: each writes its name into what it
// makes.
func Compiler(wasm []byte) string {
	if bytes.Contains(wasm, []byte("Go cmd/compile")) {
		return Go
	}
	if bytes.Contains(wasm, []byte("tinygo_")) {
		return TinyGo
	}
	return "an unknown compiler"
}
