package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/access"
)

// stream is one request on its way through the stages.
type stream struct {
	types.DefaultHttpContext
	plugin  *plugin
	id      uint32
	request access.Request
}

// OnHttpRequestHeaders decides.
func (s *stream) OnHttpRequestHeaders(int, bool) (action types.Action) {
	defer func() {
		if recover() != nil {
			s.plugin.panics.Increment()
			access.Panicked()
			action = types.ActionPause
		}
	}()
	return s.request.Judge(&s.plugin.vm.requests, s.plugin.counters, s.id, s.plugin.now)
}

// OnHttpStreamDone counts.
func (s *stream) OnHttpStreamDone() {
	defer s.plugin.survive()
	s.request.Done(&s.plugin.vm.requests)
}
