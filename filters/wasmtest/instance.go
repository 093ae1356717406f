package wasmtest

import (
	"context"
	"errors"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// instanceKey finds the instance of a running guest in a hostcall's context.
type instanceKey struct{}

// instance is one instantiation of the module: what a trap destroys and a
// reload replaces.
type instance struct {
	vm        *VM
	module    api.Module
	functions map[string]api.Function
	scopes    map[uint32]*scope
	lastID    uint32

	// current is the context the host called, effective the one the guest
	// asked to act for, or nil.
	current, effective *scope
	// running is the guest function that the host has called.
	running string
	// restriction is nil while every hostcall is allowed.
	restriction *restriction
	// stopIteration is raised by a local reply and pauses the running callback.
	stopIteration bool
	// deferred are effects that wait until the guest has returned.
	deferred []func()

	metrics     map[uint32]*Metric
	lastMetrics [3]uint32
	lastCall    uint32
	failure     error
}

// metricIDStep leaves the two lowest bits of a metric's id for its kind.
const metricIDStep = 4

// newInstance also names the callback that failed, when one did.
func newInstance(ctx context.Context, vm *VM) (*instance, string, error) {
	in := &instance{
		vm:        vm,
		functions: map[string]api.Function{},
		scopes:    map[uint32]*scope{},
		metrics:   map[uint32]*Metric{},
	}
	in.scopes[0] = &scope{in: in}
	in.current = in.scopes[0]
	in.restriction = duringInitialization
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	module, err := vm.module.runtime.InstantiateModule(in.context(ctx), vm.module.compiled, config)
	if err != nil {
		return in, "instantiation", in.trapped(ctx, "instantiation", 0, err)
	}
	in.module = module
	for name := range guestFunctions {
		if f := module.ExportedFunction(name); f != nil {
			in.functions[name] = f
		}
	}
	for _, name := range in.initializers() {
		if _, err := in.invoke(ctx, in.scopes[0], name, make([]uint64, 2)...); err != nil {
			return in, name, err
		}
	}
	in.restriction = nil
	return in, "", nil
}

// initializers returns what Envoy calls first: a reactor's _initialize and,
// where exported, main; otherwise a command's _start.
func (in *instance) initializers() []string {
	if in.functions["_initialize"] == nil {
		return in.present("_start")
	}
	if in.functions["main"] != nil {
		return []string{"_initialize", "main"}
	}
	return in.present("_initialize", "__main_void")
}

func (in *instance) present(names ...string) []string {
	var found []string
	for _, name := range names {
		if in.functions[name] != nil {
			found = append(found, name)
		}
	}
	return found
}

func (in *instance) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}

func (in *instance) close(ctx context.Context) error {
	if in.module == nil {
		return nil
	}
	return in.module.Close(ctx)
}

// newScope gives a context the next id. Ids are never reused in an instance.
func (in *instance) newScope(p *Plugin) *scope {
	in.lastID++
	sc := &scope{in: in, id: in.lastID, plugin: p}
	in.scopes[sc.id] = sc
	return sc
}

func (in *instance) fail(cause error) {
	if in.failure == nil {
		in.failure = cause
	}
}

// acting returns the context that hostcalls are attributed to: the effective
// one while it exists.
func (in *instance) acting() *scope {
	if in.effective != nil && in.scopes[in.effective.id] == in.effective {
		return in.effective
	}
	return in.current
}

// invoke calls a guest function on behalf of sc. Arguments beyond the
// function's own are dropped; a missing function returns zero. An error has
// already failed the instance.
func (in *instance) invoke(ctx context.Context, sc *scope, name string, args ...uint64) (uint64, error) {
	f := in.functions[name]
	if f == nil {
		return 0, nil
	}
	current, effective, running := in.current, in.effective, in.running
	in.current, in.effective, in.running = sc, nil, name
	defer func() { in.current, in.effective, in.running = current, effective, running }()

	in.vm.crossings[name]++
	logged := len(in.vm.logs.lines)
	results, err := f.Call(in.context(ctx), args[:len(guestFunctions[name].params)]...)
	if err != nil {
		err = in.trapped(ctx, name, logged, err)
		in.fail(err)
		return 0, err
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// callback invokes a guest function unless the instance has failed, then runs
// the effects the guest asked for. stopped says that it sent a local reply.
func (in *instance) callback(ctx context.Context, sc *scope, name string, args ...uint64) (result uint64, stopped bool) {
	if in.failure != nil {
		return 0, false
	}
	result, _ = in.invoke(ctx, sc, name, args...)
	stopped = in.stopIteration
	return result, stopped
}

// settle runs deferred effects in order, those included that they cause.
func (in *instance) settle() {
	in.stopIteration = false
	for len(in.deferred) > 0 {
		effect := in.deferred[0]
		in.deferred = in.deferred[1:]
		effect()
	}
}

// allocate re-enters the guest for size bytes of its memory. A trap in there
// cannot be returned to a guest whose allocator is broken: it goes on outward.
func (in *instance) allocate(ctx context.Context, size uint32) (uint32, bool) {
	name := "malloc"
	if in.functions[name] == nil {
		name = "proxy_on_memory_allocate"
	}
	outer := in.restriction
	in.restriction = duringAllocation
	address, err := in.invoke(ctx, in.scopes[0], name, uint64(size))
	in.restriction = outer
	if err != nil {
		panic(err)
	}
	return uint32(address), uint32(address) != 0
}

// trapped explains a failed guest call, preferring the context's error and a
// hostcall's own over wazero's words for them. The log had logged lines before.
func (in *instance) trapped(ctx context.Context, callback string, logged int, err error) error {
	trap := &TrapError{Callback: callback, cause: err}
	_, trap.Stack, _ = strings.Cut(err.Error(), "wasm stack trace:\n")
	var restricted *restrictedError
	var exit *exitError
	switch {
	case ctx.Err() != nil:
		trap.cause = context.Cause(ctx)
	case errors.As(err, &restricted):
		trap.cause = restricted
	case errors.As(err, &exit):
		trap.cause = exit
	default:
		logs := in.vm.logs.lines
		trap.LastWords = lastWords(logs[min(logged, len(logs)):])
	}
	return trap
}
