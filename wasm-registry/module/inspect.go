package module

import (
	"context"
	"fmt"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

const (
	// compileTimeout is for a slow machine: the default module takes about 2 s.
	compileTimeout = 60 * time.Second
	// startTimeout bounds starting, which takes tenths of a second: a module that
	// loops at start would hang every sidecar's main thread.
	startTimeout = 15 * time.Second
	// memoryLimit bounds what a module may allocate while it starts, in bytes.
	memoryLimit = 256 << 20
)

// Inspect starts the module once for each configuration. The error says what
// is wrong with it, and quotes what the module itself logged.
func Inspect(ctx context.Context, wasm []byte, configurations ...[]byte) error {
	if len(wasm) > MaxBytes {
		return fmt.Errorf("the module has %d bytes; at most %d are accepted", len(wasm), MaxBytes)
	}
	ctx, cancel := context.WithTimeout(ctx, compileTimeout)
	defer cancel()
	m, err := wasmtest.Compile(ctx, wasm, wasmtest.WithMemoryLimit(memoryLimit))
	if err != nil {
		return err
	}
	defer m.Close(ctx)
	ctx, stop := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it takes longer than %v to start", startTimeout))
	defer stop()
	vm, err := m.Start(ctx, wasmtest.Options{})
	if err != nil {
		return err
	}
	defer vm.Close(ctx)
	for n, c := range configurations {
		if _, err := vm.Plugin(ctx, wasmtest.PluginConfig{Name: fmt.Sprintf("configuration %d", n+1), Configuration: c}); err != nil {
			return err
		}
	}
	return nil
}
