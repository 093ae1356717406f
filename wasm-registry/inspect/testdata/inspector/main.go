// Command inspector inspects one module and nothing else. It is built for tests
// and must never be installed: wasmesh does the same.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
)

func main() {
	if err := inspect.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
