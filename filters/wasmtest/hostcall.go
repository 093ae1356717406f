package wasmtest

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// status is what a Proxy-Wasm hostcall answers.
type status = uint32

const (
	statusOK                   status = 0
	statusNotFound             status = 1
	statusBadArgument          status = 2
	statusSerializationFailure status = 3
	statusInvalidMemoryAccess  status = 6
	statusEmpty                status = 7
	statusCasMismatch          status = 8
	statusUnimplemented        status = 12
)

// hostcall is one function the guest may import.
type hostcall struct {
	signature
	// since is the first ABI version that provides it; empty for all.
	since string
	// serve answers; its result is dropped where the signature has none.
	serve func(v invocation, a []uint64) uint32
}

// invocation is one hostcall being served.
type invocation struct {
	ctx    context.Context
	in     *instance
	memory api.Memory
	// scope is the context the call acts on.
	scope *scope
}

// restriction lists the hostcalls allowed in a phase; any other one traps.
type restriction struct {
	phase   string
	allowed map[string]bool
}

// The guest is in no state to serve anything while it initializes or while its
// allocator runs, so Envoy traps most hostcalls then.
var (
	duringInitialization = &restriction{"initialization", set(
		"emscripten_notify_memory_growth", "proxy_log", "fd_write", "args_sizes_get", "args_get",
		"environ_sizes_get", "environ_get", "clock_time_get", "clock_res_get", "random_get", "poll_oneoff",
		"fd_fdstat_get", "fd_fdstat_set_flags", "fd_advise", "fd_allocate", "fd_datasync",
		"fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times",
		"fd_pread", "fd_prestat_dir_name", "fd_prestat_get", "fd_pwrite", "fd_readdir", "fd_renumber",
		"fd_sync", "fd_tell", "path_create_directory", "path_filestat_get", "path_filestat_set_times",
		"path_link", "path_readlink", "path_remove_directory", "path_rename", "path_symlink",
		"path_unlink_file", "sock_accept", "sock_recv", "sock_send", "sock_shutdown")}
	duringAllocation = &restriction{"memory allocation", set("proxy_log", "fd_write", "clock_time_get", "poll_oneoff")}
)

func set(names ...string) map[string]bool {
	s := map[string]bool{}
	for _, name := range names {
		s[name] = true
	}
	return s
}

// findHostcall knows what Envoy 1.40 offers: Proxy-Wasm under env, WASI under
// both of its module names.
func findHostcall(module, name string) (hostcall, bool) {
	var table map[string]hostcall
	switch module {
	case "env":
		table = proxyCalls
	case "wasi_snapshot_preview1", "wasi_unstable":
		table = wasiCalls
	}
	call, ok := table[name]
	return call, ok
}

// The tables are filled in init because serving a call refers back to them.
var proxyCalls, wasiCalls map[string]hostcall

func init() {
	proxyCalls = map[string]hostcall{
		"pthread_equal": {signature{"ii", "i"}, "", func(_ invocation, a []uint64) uint32 {
			return binaryAnswer(uint32(a[0]) == uint32(a[1]))
		}},
		"emscripten_notify_memory_growth": {signature{"i", ""}, "", answer(0)},
	}
	for _, group := range []map[string]hostcall{generalCalls(), mapCalls(), bufferCalls(), metricCalls(), queueCalls(), absentCalls()} {
		for name, call := range group {
			proxyCalls[name] = call
		}
	}
	wasiCalls = wasiFunctions()
}

func answer(n uint32) func(invocation, []uint64) uint32 {
	return func(invocation, []uint64) uint32 { return n }
}

func binaryAnswer(yes bool) uint32 {
	if yes {
		return 1
	}
	return 0
}

// provideHostcalls makes every hostcall importable in the runtime. The guest
// that calls is found through the context, so that instances can share it.
func provideHostcalls(ctx context.Context, runtime wazero.Runtime) error {
	for _, module := range []string{"env", "wasi_snapshot_preview1", "wasi_unstable"} {
		table := wasiCalls
		if module == "env" {
			table = proxyCalls
		}
		builder := runtime.NewHostModuleBuilder(module)
		for name, call := range table {
			builder.NewFunctionBuilder().
				WithGoModuleFunction(call.bind(name), valueTypes(call.params), valueTypes(call.result)).
				Export(name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c hostcall) bind(name string) api.GoModuleFunc {
	return func(ctx context.Context, caller api.Module, stack []uint64) {
		in := ctx.Value(instanceKey{}).(*instance)
		if r := in.restriction; r != nil && !r.allowed[name] {
			panic(&restrictedError{name, r.phase})
		}
		in.vm.crossings[name]++
		acting := in.acting()
		result := c.serve(invocation{ctx, in, caller.Memory(), acting}, stack)
		if observe := in.vm.options.OnHostCall; observe != nil {
			observe(HostCall{Callback: in.running, Context: acting.id, Name: name, Status: result})
		}
		if c.result != "" {
			stack[0] = uint64(result)
		}
	}
}

// bytes returns a view of guest memory; it is valid until the guest allocates.
func (v invocation) bytes(at, size uint64) ([]byte, bool) {
	return v.memory.Read(uint32(at), uint32(size))
}

// copied returns a copy of guest memory.
func (v invocation) copied(at, size uint64) ([]byte, bool) {
	view, ok := v.bytes(at, size)
	return append([]byte{}, view...), ok
}

func (v invocation) text(at, size uint64) (string, bool) {
	view, ok := v.bytes(at, size)
	return string(view), ok
}

func (v invocation) put32(at uint64, value uint32) bool {
	return v.memory.WriteUint32Le(uint32(at), value)
}

func (v invocation) put64(at uint64, value uint64) bool {
	return v.memory.WriteUint64Le(uint32(at), value)
}

// wrote turns the success of a write into a status.
func wrote(ok bool) status {
	if !ok {
		return statusInvalidMemoryAccess
	}
	return statusOK
}

// give copies data into memory the guest allocates for it and tells where and
// how long it is. Nothing is allocated for nothing.
func (v invocation) give(data []byte, pointerAt, sizeAt uint64) status {
	address := uint32(0)
	if len(data) > 0 {
		var ok bool
		if address, ok = v.in.allocate(v.ctx, uint32(len(data))); !ok || !v.memory.Write(address, data) {
			return statusInvalidMemoryAccess
		}
	}
	return wrote(v.put32(pointerAt, address) && v.put32(sizeAt, uint32(len(data))))
}

// pairs reads a map the guest wrote; a malformed one is logged and empty.
func (v invocation) pairs(at, size uint64) ([]Pair, bool) {
	wire, ok := v.bytes(at, size)
	if !ok {
		return nil, false
	}
	pairs, err := decodePairs(wire)
	if err != nil {
		v.scope.log(LevelWarn, "host: taken for an empty map: "+err.Error(), "")
	}
	return pairs, true
}

// uint32At reads a little-endian word of a view.
func uint32At(view []byte, at int) uint32 { return binary.LittleEndian.Uint32(view[at:]) }
