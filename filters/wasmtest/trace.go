package wasmtest

import "maps"

// HostCall is one call from the guest into the host.
type HostCall struct {
	// Callback is the guest function that was running, such as
	// "proxy_on_request_headers".
	Callback string
	// Context is the id of the context that the call acted on.
	Context uint32
	// Name is the host function, such as "proxy_get_property" or "fd_write".
	Name string
	// Status is what it answered: a Proxy-Wasm status, or a WASI error number.
	// Zero is success for both.
	Status uint32
}

// HostCalls counts host calls by callback and name. Give its Count method to
// [Options.OnHostCall]; the zero value is ready. What a guest asks of the host
// is most of what it costs in Envoy, so a test that pins these numbers is a
// budget. It belongs to the goroutine of its VM.
type HostCalls struct{ counts map[string]map[string]int }

// Count adds one call.
func (c *HostCalls) Count(call HostCall) {
	if c.counts == nil {
		c.counts = map[string]map[string]int{}
	}
	if c.counts[call.Callback] == nil {
		c.counts[call.Callback] = map[string]int{}
	}
	c.counts[call.Callback][call.Name]++
}

// In returns how often a callback made each host call, by name.
func (c *HostCalls) In(callback string) map[string]int { return maps.Clone(c.counts[callback]) }

// Total returns how many host calls there were.
func (c *HostCalls) Total() int {
	total := 0
	for _, names := range c.counts {
		for _, n := range names {
			total += n
		}
	}
	return total
}

// Reset forgets what was counted.
func (c *HostCalls) Reset() { c.counts = nil }
