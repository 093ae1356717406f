//go:build !wasm

package guest

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// Outside Wasm there is no host: every read finds nothing, and the stages deny.

// ReadRequest finds nothing outside Wasm.
func ReadRequest([]policy.Header) (Request, bool) { return Request{}, false }

func property(string) ([]byte, bool) { return nil, false }

// SetGauge does nothing outside Wasm.
func SetGauge(proxywasm.MetricGauge, uint64) bool { return false }
