package wasmtest

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// PluginConfig describes a plugin, as Envoy's PluginConfig does.
type PluginConfig struct {
	Name, RootID  string
	Configuration []byte
	// OnFailure says what happens once the VM has trapped.
	OnFailure FailurePolicy
	// ReloadBackoff is the shortest time between two loads of the plugin under
	// FailReload, zero for Envoy's default of a second. Envoy draws a time
	// between this and half as much again; here it is exact.
	ReloadBackoff time.Duration
}

func (c PluginConfig) same(other PluginConfig) bool {
	return c.Name == other.Name && c.RootID == other.RootID && slices.Equal(c.Configuration, other.Configuration)
}

// Plugin is a root context: one filter configuration in a VM.
type Plugin struct {
	vm     *VM
	config PluginConfig
	root   *scope
	// uses counts the owner and every stream or connection that is not done.
	uses        int
	configuring bool
	// pendingDone waits for proxy_done after proxy_on_done answered false.
	pendingDone, ended bool
	period             time.Duration
	due                time.Time
	// loaded is when the plugin last started or tried to.
	loaded time.Time
}

// Plugin starts a plugin: proxy_on_context_create, proxy_on_vm_start (Envoy
// calls it for each plugin, not once per VM), proxy_on_configure. A plugin
// with the same name, root id and configuration is returned as it is, for the
// two filters share it. The error is a *StartError and leaves the VM as it was
// unless the guest trapped.
func (vm *VM) Plugin(ctx context.Context, config PluginConfig) (*Plugin, error) {
	if vm.closed {
		return nil, &StartError{Plugin: config.Name, Callback: "start", Cause: ErrClosed}
	}
	for _, p := range vm.plugins {
		if p.config.same(config) && p.uses > 0 && p.root.in == vm.in {
			p.uses++
			return p, nil
		}
	}
	p := &Plugin{vm: vm, config: config, uses: 1}
	p.config.Configuration = slices.Clone(config.Configuration)
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	vm.plugins = append(vm.plugins, p)
	return p, nil
}

func (p *Plugin) start(ctx context.Context) error {
	in := p.vm.in
	if in.failure != nil {
		return &StartError{Plugin: p.config.Name, Callback: "start", Cause: in.failure}
	}
	before := len(p.vm.logs.lines)
	p.root, p.period, p.loaded = in.newScope(p), 0, p.vm.now
	p.root.created = true
	callback, cause := p.run(ctx)
	p.configuring = false
	if cause == nil {
		return nil
	}
	in.callback(ctx, p.root, "proxy_on_delete", uint64(p.root.id))
	in.settle()
	delete(in.scopes, p.root.id)
	logs := p.vm.logs.list()
	return &StartError{Plugin: p.config.Name, Callback: callback, Cause: cause, Logs: logs[min(before, len(logs)):]}
}

// run makes the start callbacks and names the one that failed. The plugin's
// configuration is readable in the first and the last, not in between.
func (p *Plugin) run(ctx context.Context) (callback string, cause error) {
	steps := []struct {
		callback    string
		argument    int
		configuring bool
	}{
		{"proxy_on_context_create", 0, true},
		{"proxy_on_vm_start", len(p.vm.options.Configuration), false},
		{"proxy_on_configure", len(p.config.Configuration), true},
	}
	for _, step := range steps {
		p.configuring = step.configuring
		if cause = p.ask(ctx, step.callback, step.argument); cause != nil {
			return step.callback, cause
		}
	}
	return "", nil
}

// ask makes a start callback and explains a no. Callbacks that are missing or
// answer nothing agree.
func (p *Plugin) ask(ctx context.Context, callback string, argument int) error {
	in := p.vm.in
	answer, _ := in.callback(ctx, p.root, callback, uint64(p.root.id), uint64(argument))
	in.settle()
	if in.failure != nil {
		return in.failure
	}
	if in.functions[callback] != nil && guestFunctions[callback].result != "" && uint32(answer) == 0 {
		return ErrRefused
	}
	return nil
}

// Update starts a plugin with the new configuration in the same VM, as a
// push that changes nothing else does, and lets go of this one: it ends when
// its last stream has. On an error this plugin serves on.
func (p *Plugin) Update(ctx context.Context, configuration []byte) (*Plugin, error) {
	if p.uses == 0 {
		return nil, fmt.Errorf("update plugin %q: %w", p.config.Name, ErrClosed)
	}
	config := p.config
	config.Configuration = configuration
	next, err := p.vm.Plugin(ctx, config)
	if err != nil {
		return nil, err
	}
	p.release(ctx)
	return next, nil
}

// Close lets go of the plugin: proxy_on_done and proxy_on_delete follow once
// its last stream is done.
func (p *Plugin) Close(ctx context.Context) { p.release(ctx) }

func (p *Plugin) release(ctx context.Context) {
	if p.uses == 0 {
		return
	}
	if p.uses--; p.uses == 0 {
		p.shutdown(ctx)
	}
}

// shutdown ends the root context, or waits for proxy_done if the guest asks.
func (p *Plugin) shutdown(ctx context.Context) {
	if p.ended || p.pendingDone {
		return
	}
	in := p.root.in
	done := uint64(1)
	if in.functions["proxy_on_done"] != nil && in.failure == nil {
		done, _ = in.callback(ctx, p.root, "proxy_on_done", uint64(p.root.id))
	}
	if uint32(done) == 0 && in.failure == nil {
		p.pendingDone = true
		in.settle()
		return
	}
	in.settle()
	p.delete(ctx)
}

func (p *Plugin) delete(ctx context.Context) {
	in := p.root.in
	in.callback(ctx, p.root, "proxy_on_delete", uint64(p.root.id))
	in.settle()
	delete(in.scopes, p.root.id)
	p.ended, p.pendingDone, p.period = true, false, 0
	p.vm.plugins = slices.DeleteFunc(p.vm.plugins, func(q *Plugin) bool { return q == p })
}

// Ended reports whether the guest has been told to delete the plugin.
func (p *Plugin) Ended() bool { return p.ended }

// VM returns the VM the plugin runs in.
func (p *Plugin) VM() *VM { return p.vm }

// ID returns the id of the root context, which changes with a reload.
func (p *Plugin) ID() uint32 { return p.root.id }

// TickPeriod returns the period the guest asked for, zero for none.
func (p *Plugin) TickPeriod() time.Duration { return p.period }

func (p *Plugin) setPeriod(period time.Duration) {
	p.period, p.due = period, p.vm.now.Add(period)
}

// rootIn returns the id of the plugin's root context in an instance: streams
// of a failed instance must not name a root of its successor.
func (p *Plugin) rootIn(in *instance) uint32 {
	if p.root.in != in {
		return 0
	}
	return p.root.id
}
