package guest

import "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

// The SDK's metrics panic where the host refuses, and bring fmt with them, which
// is a third of TinyGo's module. Telemetry must never be what ends a request.

// The kinds of the Proxy-Wasm ABI.
const (
	kindCounter   = 0
	kindGauge     = 1
	kindHistogram = 2
)

// Counter is a counter of the sidecar. The zero Counter counts nothing.
type Counter struct{ metric metric }

// Gauge is a gauge of the sidecar. The zero Gauge shows nothing.
type Gauge struct{ metric metric }

// Histogram is a histogram of the sidecar. The zero Histogram records nothing.
type Histogram struct{ metric metric }

type metric struct {
	id      uint32
	defined bool
}

// DefineCounter returns the counter of that name. One that the host refuses is
// logged, and counts nothing.
func DefineCounter(name string) Counter { return Counter{define(kindCounter, name)} }

// DefineGauge returns the gauge of that name. One that the host refuses is
// logged, and shows nothing.
func DefineGauge(name string) Gauge { return Gauge{define(kindGauge, name)} }

// DefineHistogram returns the histogram of that name. One that the host refuses is
// logged, and records nothing.
func DefineHistogram(name string) Histogram { return Histogram{define(kindHistogram, name)} }

func define(kind uint32, name string) metric {
	id, ok := hostDefine(kind, name)
	if !ok {
		proxywasm.LogError("a metric could not be defined: " + name)
	}
	return metric{id, ok}
}

// Increment counts one.
func (c Counter) Increment() { c.Add(1) }

// Add counts n. Of nothing the sidecar is not told.
func (c Counter) Add(n uint64) {
	if c.metric.defined && n > 0 && !hostIncrement(c.metric.id, int64(n)) {
		proxywasm.LogError("a counter could not be incremented")
	}
}

// Set shows value; the SDK can only add to a gauge.
func (g Gauge) Set(value uint64) {
	if g.metric.defined && !hostRecord(g.metric.id, value) {
		proxywasm.LogError("a gauge could not be set")
	}
}

// Record adds one value.
func (h Histogram) Record(value uint64) {
	if h.metric.defined && !hostRecord(h.metric.id, value) {
		proxywasm.LogError("a histogram could not be recorded")
	}
}
