// Command mesh is the module every sidecar runs: all stages in one plugin
// binary, so that a stream costs one call into Wasm and a worker one VM.
//
// It only wires. No panic may leave it: the access stage then denies, the
// others pass.
package main

import (
	"time"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/lifetime"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/telemetry"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

const (
	// tickMilliseconds is how late an ended certificate may be noticed.
	tickMilliseconds = 1000
	// firstTickMilliseconds is how late a new policy is reported.
	firstTickMilliseconds = 1
)

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

// plugin is one configuration of the module: a policy, or the lifetime form.
type plugin struct {
	types.DefaultPluginContext
	form        config.Form
	version     uint64
	ticked      bool
	table       *policy.Table
	counters    *telemetry.Counters
	connections *lifetime.Connections
	// now is the time of the last tick, in seconds since 1970: reading the clock
	// for each stream would cost more than it tells.
	now int64
	// headers is where each stream reads its headers to; one callback runs at a
	// time in a VM.
	headers []policy.Header
	panics  proxywasm.MetricCounter
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
	p.form, p.table, p.version = c.Form, table, c.Version
	p.now = time.Now().Unix()
	p.panics = proxywasm.DefineCounterMetric(traffic.Panics)
	if err := proxywasm.SetTickPeriodMilliSeconds(firstTickMilliseconds); err != nil {
		proxywasm.LogError("the tick could not be set: " + err.Error())
		return types.OnPluginStartStatusFailed
	}
	switch c.Form {
	case config.Lifetime:
		p.connections = lifetime.New()
	case config.Access:
		p.counters = telemetry.New(c.Destination)
	}
	return types.OnPluginStartStatusOK
}

// OnTick moves the clock and ends what has expired.
func (p *plugin) OnTick() {
	defer p.survive()
	p.now = time.Now().Unix()
	if !p.ticked {
		p.begin()
	}
	if p.connections != nil {
		p.connections.End(p.now)
	}
}

// begin reports the policy. It waits for a tick because the sidecar also
// configures a VM that only validates and never ticks: what is reported runs.
func (p *plugin) begin() {
	p.ticked = true
	if p.form == config.Access {
		guest.SetGauge(proxywasm.DefineGaugeMetric(traffic.PolicyVersion), p.version)
	}
	if err := proxywasm.SetTickPeriodMilliSeconds(tickMilliseconds); err != nil {
		proxywasm.LogError("the tick could not be slowed down: " + err.Error())
	}
}

// NewHttpContext returns nil in the lifetime form: the SDK then asks for the
// other kind.
func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	if p.form != config.Access {
		return nil
	}
	return &stream{plugin: p}
}

// NewTcpContext returns nil in the access form.
func (p *plugin) NewTcpContext(id uint32) types.TcpContext {
	if p.form != config.Lifetime {
		return nil
	}
	return p.connections.Open(id)
}

// survive counts a panic of a callback in which nothing has to be answered.
func (p *plugin) survive() {
	if recover() != nil {
		p.panics.Increment(1)
	}
}
