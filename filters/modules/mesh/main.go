// Command mesh is the module every sidecar runs: all stages in one plugin
// binary, so that a stream costs one call into Wasm and a worker one VM.
//
// It only wires. No panic may leave it: the access stage then denies, the
// others pass. TinyGo has no recover: a panic ends the VM, and Envoy answers 503
// until it has loaded it again.
package main

import (
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/access"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/lifetime"
	"github.com/wasmesh/wasmesh/filters/telemetry"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

const (
	// tickMilliseconds is how late an ended certificate or a revoked right may be
	// noticed.
	tickMilliseconds = 1000
	// firstTickMilliseconds is how late a new policy is reported.
	firstTickMilliseconds = 1
)

// vm holds what outlives a plugin: an edit of the policy makes a new one while
// requests and connections of the one before are still open.
type vm struct {
	types.DefaultVMContext
	requests    access.Requests
	connections access.Connections
}

func (v *vm) NewPluginContext(uint32) types.PluginContext { return &plugin{vm: v} }

// plugin is one configuration of the module, in one of its forms.
type plugin struct {
	types.DefaultPluginContext
	vm       *vm
	form     config.Form
	version  uint64
	ticked   bool
	counters *telemetry.Counters
	lifetime *lifetime.Connections
	// now is the time of the last tick, in seconds since 1970: reading the clock
	// for each stream would cost more than it tells.
	now    int64
	panics guest.Counter
}

// OnPluginStart refuses a configuration it cannot read, and the sidecar keeps
// the one before.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	encoded, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		proxywasm.LogError("the plugin configuration could not be read: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	c, table, ok := config.Decode(encoded)
	if !ok {
		proxywasm.LogError("the plugin configuration is not one of this module's version, or is damaged")
		return types.OnPluginStartStatusFailed
	}
	p.form, p.version = c.Form, c.Version
	now := time.Now()
	p.now = now.Unix()
	p.panics = guest.DefineCounter(traffic.Panics)
	if err := proxywasm.SetTickPeriodMilliSeconds(firstTickMilliseconds); err != nil {
		proxywasm.LogError("the tick could not be set: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	if c.Form != config.AccessOnly {
		p.counters = telemetry.New(c.Destination)
	}
	switch c.Form {
	case config.Lifetime:
		p.lifetime = lifetime.New()
	case config.Access, config.AccessOnly:
		p.vm.requests.Replace(table, c, now.UnixMilli())
	case config.Connections:
		p.vm.connections.Replace(table, c, p.now)
	}
	return types.OnPluginStartStatusOK
}

// OnTick moves the clock and ends what has expired or lost its right.
func (p *plugin) OnTick() {
	defer p.survive()
	now := time.Now()
	p.now = now.Unix()
	if !p.ticked {
		p.begin()
	}
	switch p.form {
	case config.Lifetime:
		p.lifetime.End(p.now)
	case config.Access, config.AccessOnly:
		p.vm.requests.Revoke(now.UnixMilli())
	case config.Connections:
		p.vm.connections.Revoke(p.now)
	}
}

// begin reports the policy. It waits for a tick because the sidecar also
// configures a VM that only validates and never ticks: what is reported runs.
func (p *plugin) begin() {
	p.ticked = true
	switch p.form {
	case config.Access, config.AccessOnly:
		guest.DefineGauge(traffic.PolicyVersion).Set(p.version)
	case config.Connections:
		guest.DefineGauge(traffic.ConnectionPolicyVersion).Set(p.version)
	}
	if err := proxywasm.SetTickPeriodMilliSeconds(tickMilliseconds); err != nil {
		proxywasm.LogError("the tick could not be slowed down: " + err.Error())
	}
}

// NewHttpContext returns nil in the network forms: the SDK then asks for the
// other kind.
func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	if p.form != config.Access && p.form != config.AccessOnly {
		return nil
	}
	return &stream{plugin: p, id: id}
}

// NewTcpContext returns nil in the access form.
func (p *plugin) NewTcpContext(id uint32) types.TcpContext {
	switch p.form {
	case config.Lifetime:
		return p.lifetime.Open(id)
	case config.Connections:
		return p.vm.connections.Open(id, p.counters, p.panics)
	}
	return nil
}

// survive counts a panic of a callback in which nothing has to be answered.
func (p *plugin) survive() {
	if recover() != nil {
		p.panics.Increment()
	}
}
