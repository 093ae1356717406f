//go:build !wasm

package guest

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
)

// Outside Wasm there is no host: every read finds nothing, and the stages deny.

// RequestPairs finds nothing outside Wasm.
func RequestPairs() ([]byte, bool) { return nil, false }

// CloseRequest does nothing outside Wasm.
func CloseRequest() bool { return false }

func property(string) ([]byte, bool) { return nil, false }

// SetGauge does nothing outside Wasm.
func SetGauge(proxywasm.MetricGauge, uint64) bool { return false }
