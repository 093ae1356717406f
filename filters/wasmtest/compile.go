package wasmtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The ABI versions that run here, in an order that compares as text.
const (
	abi020 = "0.2.0"
	abi021 = "0.2.1"
)

const (
	pageBytes = 64 << 10
	// Envoy's V8 refuses a module, or a growth, beyond this.
	maxMemoryBytes = 1 << 30
)

// Module is a compiled Proxy-Wasm module from which VMs are started. It is
// safe for concurrent use until Close.
type Module struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	abi      string
}

type compileSettings struct {
	cache       wazero.CompilationCache
	memoryBytes uint64
}

// CompileOption adjusts [Compile].
type CompileOption func(*compileSettings)

// WithCache keeps compiled code in cache, so that the same bytes compile once
// even when compiled by several Modules.
func WithCache(cache wazero.CompilationCache) CompileOption {
	return func(s *compileSettings) { s.cache = cache }
}

// WithMemoryLimit lowers the linear memory a guest may grow to, in bytes,
// rounded up to a 64 KiB page. Envoy's limit of 1 GiB is never exceeded.
func WithMemoryLimit(limit uint64) CompileOption {
	return func(s *compileSettings) { s.memoryBytes = min(max(limit, pageBytes), maxMemoryBytes) }
}

// Compile checks that wasm is a core module Envoy would load as a Proxy-Wasm
// filter and compiles it. A refusal wraps one of ErrNotWasm, ErrComponent,
// ErrCorrupt, ErrABI, ErrImport or ErrExport.
func Compile(ctx context.Context, wasm []byte, options ...CompileOption) (*Module, error) {
	settings := compileSettings{memoryBytes: maxMemoryBytes}
	for _, option := range options {
		option(&settings)
	}
	if err := checkPreamble(wasm); err != nil {
		return nil, fmt.Errorf("compile module: %w", err)
	}
	config := wazero.NewRuntimeConfig().
		WithMemoryLimitPages(uint32((settings.memoryBytes + pageBytes - 1) / pageBytes)).
		WithCloseOnContextDone(true)
	if settings.cache != nil {
		config = config.WithCompilationCache(settings.cache)
	}
	m := &Module{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if err := m.load(ctx, wasm); err != nil {
		_ = m.Close(ctx)
		return nil, fmt.Errorf("compile module: %w", err)
	}
	return m, nil
}

func (m *Module) load(ctx context.Context, wasm []byte) error {
	compiled, err := m.runtime.CompileModule(ctx, wasm)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.compiled = compiled
	if m.abi, err = abiOf(compiled.ExportedFunctions()); err != nil {
		return err
	}
	if err := checkImports(compiled, m.abi); err != nil {
		return err
	}
	if err := checkExports(compiled); err != nil {
		return err
	}
	return provideHostcalls(ctx, m.runtime)
}

// ABI returns the Proxy-Wasm ABI version that the module declares, such as
// "0.2.0".
func (m *Module) ABI() string { return m.abi }

// Imports returns the hostcalls the module can make, sorted, each as
// "module.function": what a reviewer may call its capabilities.
func (m *Module) Imports() []string {
	var names []string
	for _, f := range m.compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		names = append(names, module+"."+name)
	}
	sort.Strings(names)
	return names
}

// Exports returns the names of the module's exported functions, sorted.
func (m *Module) Exports() []string {
	var names []string
	for name := range m.compiled.ExportedFunctions() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Close frees the compiled code. VMs started from the module end with it.
func (m *Module) Close(ctx context.Context) error { return m.runtime.Close(ctx) }

// checkPreamble looks at the first eight bytes: magic, then a version word
// whose upper half is the layer, 0 for core modules and 1 for components.
func checkPreamble(wasm []byte) error {
	if !bytes.HasPrefix(wasm, []byte("\x00asm")) {
		return fmt.Errorf("%w: it does not begin with \\0asm", ErrNotWasm)
	}
	if len(wasm) < 8 {
		return fmt.Errorf("%w: %d bytes are no complete preamble", ErrCorrupt, len(wasm))
	}
	switch version, layer := binary.LittleEndian.Uint16(wasm[4:]), binary.LittleEndian.Uint16(wasm[6:]); {
	case layer == 1:
		return fmt.Errorf("%w: build it for wasip1, not for wasip2 or a component", ErrComponent)
	case layer != 0 || version != 1:
		return fmt.Errorf("%w: unknown wasm version %d, layer %d", ErrCorrupt, version, layer)
	}
	return nil
}

// abiOf reads the version from the name of an export. No SDK exports two; the
// older one is taken then, because it provides fewer hostcalls.
func abiOf(exports map[string]api.FunctionDefinition) (string, error) {
	const prefix = "proxy_abi_version_"
	if exports[prefix+"0_2_0"] != nil {
		return abi020, nil
	}
	if exports[prefix+"0_2_1"] != nil {
		return abi021, nil
	}
	if _, ok := exports[prefix+"0_1_0"]; ok {
		return "", fmt.Errorf("%w: it exports %s0_1_0; versions 0.2.0 and 0.2.1 are supported", ErrABI, prefix)
	}
	for name := range exports {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return "", fmt.Errorf("%w: it exports %s; versions 0.2.0 and 0.2.1 are supported", ErrABI, name)
		}
	}
	return "", fmt.Errorf("%w: it exports no %s0_2_0 and no %s0_2_1 function", ErrABI, prefix, prefix)
}

func checkImports(compiled wazero.CompiledModule, abi string) error {
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		call, ok := findHostcall(module, name)
		if !ok || call.since > abi {
			return fmt.Errorf("%w: function %s.%s (ABI %s)", ErrImport, module, name, abi)
		}
		if !call.matches(f) {
			return fmt.Errorf("%w: function %s.%s has another signature", ErrImport, module, name)
		}
	}
	for _, memory := range compiled.ImportedMemories() {
		module, name, _ := memory.Import()
		return fmt.Errorf("%w: memory %s.%s", ErrImport, module, name)
	}
	return nil
}

func checkExports(compiled wazero.CompiledModule) error {
	exports := compiled.ExportedFunctions()
	for name, signature := range guestFunctions {
		if f, ok := exports[name]; ok && !signature.matches(f) {
			return fmt.Errorf("%w: function %s has another signature", ErrExport, name)
		}
	}
	if exports["malloc"] == nil && exports["proxy_on_memory_allocate"] == nil {
		return fmt.Errorf("%w: neither proxy_on_memory_allocate nor malloc is there", ErrExport)
	}
	if len(compiled.ExportedMemories()) == 0 {
		return fmt.Errorf("%w: no memory is exported", ErrExport)
	}
	return nil
}
