package wasmtest

import (
	"context"
	"time"
)

// FailurePolicy says what becomes of streams and connections that begin once a
// plugin's VM has trapped. Under every policy those that were open then are
// answered 503 or closed with their next event, the one that trapped included.
type FailurePolicy int

// The failure policies of Envoy's PluginConfig.
const (
	// FailClosed answers 503 to streams and closes connections, until the test
	// calls [VM.Reload].
	FailClosed FailurePolicy = iota
	// FailOpen lets them pass unfiltered, until [VM.Reload].
	FailOpen
	// FailReload does as FailClosed, but a stream or connection that begins
	// after the back-off gets a new instance of the module.
	FailReload
)

// String returns the policy as Envoy's configuration spells it.
func (f FailurePolicy) String() string {
	return [...]string{"FAIL_CLOSED", "FAIL_OPEN", "FAIL_RELOAD"}[f]
}

// defaultBackoff is Envoy's base interval between two loads of a plugin.
const defaultBackoff = time.Second

// open reports whether what begins now passes unfiltered.
func (p *Plugin) open() bool {
	return p.root.in.failure != nil && p.config.OnFailure == FailOpen
}

// revive gives a plugin whose instance has failed another one, if its policy
// says so and its last load is long enough ago. Envoy does it for each plugin
// by itself, where a stream begins: others of the VM keep the failed instance
// until their own turn. A start that fails counts as a load.
func (p *Plugin) revive(ctx context.Context) {
	vm := p.vm
	backoff := p.config.ReloadBackoff
	if backoff == 0 {
		backoff = defaultBackoff
	}
	if p.root.in.failure == nil || p.config.OnFailure != FailReload || vm.closed || p.ended || vm.now.Sub(p.loaded) < backoff {
		return
	}
	p.loaded = vm.now
	if vm.in.failure != nil {
		failed := vm.in
		if err := vm.instantiate(ctx); err != nil {
			return
		}
		_ = failed.close(ctx)
	}
	old := p.root
	if err := p.start(ctx); err != nil {
		p.root = old
	}
}
