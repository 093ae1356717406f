package wasmtest

import (
	"context"
	"fmt"
	"maps"
	"sort"
	"time"
)

// Options describe a VM, as Envoy's VmConfig does.
type Options struct {
	// VMID is the vm_id: VMs of one Proxy with the same one share data.
	VMID string
	// Configuration is the VM configuration, handed to proxy_on_vm_start.
	Configuration []byte
	// Environment is what the guest's environ holds; empty in Envoy unless the
	// configuration says otherwise.
	Environment []Pair
	// Properties are readable from every context, root contexts included:
	// node metadata and the like.
	Properties Properties
	// Proxy holds metrics, shared data and queues; nil makes a new one.
	Proxy *Proxy
	// Clusters are the upstream clusters that the guest may call. A call to any
	// other is refused as a bad argument.
	Clusters []string
	// OnHostCall is told of every host call after it was served; nil for none.
	// It must not call back into the VM. See [HostCalls].
	OnHostCall func(HostCall)
	// Now is the virtual time at start; zero is 2026-01-01 00:00 UTC.
	Now time.Time
	// LogLevel is what proxy_get_log_level answers. Every line is kept
	// whatever it says.
	LogLevel Level
}

// VM is one running instance of a module, as one Envoy worker has it. It
// belongs to one goroutine at a time.
type VM struct {
	module      *Module
	options     Options
	in          *instance
	plugins     []*Plugin
	calls       []*Call
	logs        logBook
	unsupported map[string]bool
	crossings   map[string]int
	now         time.Time
	slept       time.Duration
	closed      bool
}

// Start instantiates the module and runs its initialization (_initialize and
// main, or _start). Plugins are added with [VM.Plugin]. The error is a
// *StartError. A ctx that ends interrupts the guest.
func (m *Module) Start(ctx context.Context, options Options) (*VM, error) {
	if options.Proxy == nil {
		options.Proxy = NewProxy()
	}
	if options.Now.IsZero() {
		options.Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	vm := &VM{module: m, options: options, now: options.Now, unsupported: map[string]bool{}, crossings: map[string]int{}}
	if err := vm.instantiate(ctx); err != nil {
		return nil, err
	}
	return vm, nil
}

// StartPlugin starts a VM with one plugin: what a pre-flight check needs. On
// an error, which is a *StartError, nothing is left running.
func (m *Module) StartPlugin(ctx context.Context, options Options, config PluginConfig) (*Plugin, error) {
	vm, err := m.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	plugin, err := vm.Plugin(ctx, config)
	if err != nil {
		_ = vm.Close(ctx)
		return nil, err
	}
	return plugin, nil
}

// instantiate replaces the instance by a new one and initializes it.
func (vm *VM) instantiate(ctx context.Context) error {
	in, callback, err := newInstance(ctx, vm)
	if err != nil {
		if in != nil {
			_ = in.close(ctx)
		}
		return &StartError{Callback: callback, Cause: err, Logs: vm.Logs()}
	}
	vm.in = in
	return nil
}

// Reload replaces a failed VM by a new instance and starts its plugins again
// from their configurations, as a push does. It is the way out for plugins that
// fail closed; [FailReload] needs no help. Streams and
// connections begun before stay with the failed instance. Metrics, shared
// data, logs and the clock go on.
func (vm *VM) Reload(ctx context.Context) error {
	if vm.closed {
		return fmt.Errorf("reload vm %q: %w", vm.options.VMID, ErrClosed)
	}
	old := vm.in
	if err := vm.instantiate(ctx); err != nil {
		return err
	}
	old.fail(fmt.Errorf("vm %q was reloaded", vm.options.VMID))
	_ = old.close(ctx)
	for _, p := range vm.plugins {
		if err := p.start(ctx); err != nil {
			vm.in.fail(err)
			return err
		}
	}
	return nil
}

// Close ends the plugins (proxy_on_done, proxy_on_delete) and frees the
// instance. A second Close does nothing.
func (vm *VM) Close(ctx context.Context) error {
	if vm.closed {
		return nil
	}
	vm.closed = true
	for _, p := range append([]*Plugin{}, vm.plugins...) {
		p.shutdown(ctx)
	}
	vm.options.Proxy.forget(vm)
	vm.in.fail(ErrClosed)
	return vm.in.close(ctx)
}

// Advance moves the virtual clock by d and runs what falls due, in order of
// time: ticks, and timeouts of HTTP calls. Guests hear of their shared queues
// first, so that Advance(ctx, 0) is one turn of a worker's event loop. It
// returns the trap's cause when the VM failed.
func (vm *VM) Advance(ctx context.Context, d time.Duration) error {
	end := vm.now.Add(d)
	vm.hearQueues(ctx)
	for {
		p, c := vm.nextTick(end), vm.nextTimeout(end)
		switch {
		case p == nil && c == nil:
			vm.now = end
			return vm.Failure()
		case c == nil || (p != nil && p.due.Before(c.due)):
			vm.passTo(p.due)
			vm.Tick(ctx, p)
		default:
			vm.passTo(c.due)
			c.timeOut(ctx)
		}
		vm.hearQueues(ctx)
	}
}

// passTo moves the clock forward, never back.
func (vm *VM) passTo(t time.Time) {
	if t.After(vm.now) {
		vm.now = t
	}
}

// nextTimeout returns the call that times out first, but not after end.
func (vm *VM) nextTimeout(end time.Time) *Call {
	var next *Call
	for _, c := range vm.calls {
		if c.Timeout == 0 || c.due.After(end) {
			continue
		}
		if next == nil || c.due.Before(next.due) {
			next = c
		}
	}
	return next
}

// nextTick returns the plugin whose tick falls due first, but not after end.
func (vm *VM) nextTick(end time.Time) *Plugin {
	var next *Plugin
	for _, p := range vm.plugins {
		if p.period == 0 || p.due.After(end) || p.root.in.failure != nil {
			continue
		}
		if next == nil || p.due.Before(next.due) {
			next = p
		}
	}
	return next
}

// Tick runs proxy_on_tick for the plugin now, whether or not it is due, and
// arms its timer again if it has a period.
func (vm *VM) Tick(ctx context.Context, p *Plugin) {
	p.root.in.callback(ctx, p.root, "proxy_on_tick", uint64(p.root.id))
	p.root.in.settle()
	p.due = vm.now.Add(p.period)
}

// Now returns the virtual time.
func (vm *VM) Now() time.Time { return vm.now }

// Blocked returns how long sleeping guest code would have kept an Envoy worker
// spinning. Anything but zero is a defect of the module.
func (vm *VM) Blocked() time.Duration { return vm.slept }

// Proxy returns the metrics and shared data this VM writes to.
func (vm *VM) Proxy() *Proxy { return vm.options.Proxy }

// Logs returns the guest's lines since Start, oldest first.
func (vm *VM) Logs() []LogLine { return vm.logs.list() }

// Failure returns why the VM no longer executes, wrapping ErrTrap, or nil.
func (vm *VM) Failure() error { return vm.in.failure }

// Unsupported returns the hostcalls the guest made that this package answers
// with a refusal although Envoy might serve them, sorted.
func (vm *VM) Unsupported() []string {
	var names []string
	for name := range vm.unsupported {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Crossings returns how often each function was called across the boundary since
// Start, by name: hostcalls by the guest and exports by the host, re-entries to
// allocate memory included. Every one costs what a crossing costs.
func (vm *VM) Crossings() map[string]int { return maps.Clone(vm.crossings) }

// MemoryBytes returns the current size of the guest's linear memory.
func (vm *VM) MemoryBytes() uint64 {
	if vm.in.module == nil {
		return 0
	}
	return uint64(vm.in.module.Memory().Size())
}
