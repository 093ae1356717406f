package main

import (
	"context"
	"io"
	"os"

	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
)

// runInspection is for inspect.Inspector only, which starts this program again.
func runInspection(ctx context.Context, _ []string, stdout, _ io.Writer) error {
	return inspect.Serve(ctx, os.Stdin, stdout)
}
