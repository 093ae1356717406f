package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// Serve is the other side of Inspect: it limits the process it runs in, for
// good, reads one module with its configurations and says what it found. An
// error is for a process that could not do its work.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	limits, err := readLimits(in)
	if err != nil {
		return fmt.Errorf("read the limits: %w; is it another wasmesh that asks?", err)
	}
	if err := restrict(limits); err != nil {
		return fmt.Errorf("limit this process: %w", err)
	}
	// Garbage is collected well before the system refuses more.
	debug.SetMemoryLimit(int64(limits.Process / 2))
	wasm, configurations, err := readModule(in)
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	e := json.NewEncoder(out)
	r := report{Done: true}
	if err := start(ctx, limits, wasm, configurations, func(phase string) { _ = e.Encode(report{Phase: phase}) }); err != nil {
		r.Cause = legible(err.Error())
	}
	return e.Encode(r)
}

// InProcess does the same in this process, bounded in time and in the memory of
// the module alone. It is for tests, and for programs that have no wasmesh to
// start.
func InProcess(ctx context.Context, wasm []byte, configurations ...[]byte) error {
	if _, err := module.Read(wasm); err != nil {
		return err
	}
	return start(ctx, DefaultLimits(), wasm, configurations, func(string) {})
}

// start tells before each step what comes next: who is killed cannot tell it
// afterwards.
func start(ctx context.Context, limits Limits, wasm []byte, configurations [][]byte, next func(phase string)) error {
	next("compile")
	compiling, cancel := context.WithTimeoutCause(ctx, limits.Compile, fmt.Errorf("it takes longer than %v to compile", limits.Compile))
	defer cancel()
	m, err := wasmtest.Compile(compiling, wasm, wasmtest.WithMemoryLimit(limits.Guest))
	if err != nil {
		return err
	}
	defer m.Close(ctx)
	next("start")
	starting, stop := context.WithTimeoutCause(ctx, limits.Start, fmt.Errorf("it takes longer than %v to start", limits.Start))
	defer stop()
	vm, err := m.Start(starting, wasmtest.Options{})
	if err != nil {
		return err
	}
	defer vm.Close(ctx)
	for n, c := range configurations {
		name := fmt.Sprintf("configuration %d", n+1)
		next("take " + name)
		if _, err := vm.Plugin(starting, wasmtest.PluginConfig{Name: name, Configuration: c}); err != nil {
			return err
		}
	}
	return nil
}
