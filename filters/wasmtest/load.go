package wasmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Load builds the main package in a folder, or with an import path, and
// compiles it: [Build], then [Compile]. It is what most tests begin with, once
// for all tests of a package.
func Load(ctx context.Context, pkg string, options ...CompileOption) (*Module, error) {
	dir, err := os.MkdirTemp("", "wasmtest")
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", pkg, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "module.wasm")
	if err := Build(ctx, pkg, file); err != nil {
		return nil, err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", pkg, err)
	}
	module, err := Compile(ctx, wasm, options...)
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", pkg, err)
	}
	return module, nil
}

// Request returns the headers of a request as Envoy hands them to a filter:
// :authority ("test"), :path, :method and :scheme, then more names and values.
func Request(method, path string, namesAndValues ...string) []Pair {
	return append(Pairs(":authority", "test", ":path", path, ":method", method, ":scheme", "http"), Pairs(namesAndValues...)...)
}

// Response returns the headers of an answer: :status, then more names and
// values.
func Response(status int, namesAndValues ...string) []Pair {
	return append(Pairs(":status", strconv.Itoa(status)), Pairs(namesAndValues...)...)
}
