package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/access"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/telemetry"
)

// stream is one request on its way through the stages.
type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	source *telemetry.Source
	done   bool
}

// OnHttpRequestHeaders decides.
func (s *stream) OnHttpRequestHeaders(int, bool) (action types.Action) {
	defer func() {
		if recover() != nil {
			s.plugin.panics.Increment(1)
			access.Refuse(policy.ReasonPanic)
			action = types.ActionPause
		}
	}()
	connection, _ := guest.ReadConnection()
	s.source = s.plugin.counters.Source(connection.Label)
	request, ok := guest.ReadRequest(s.plugin.headers)
	if !ok {
		return s.refuse(connection, request, policy.ReasonReject)
	}
	s.plugin.headers = request.Headers
	verdict := access.Decide(s.plugin.table, connection, request, s.plugin.now)
	if !verdict.Allow {
		return s.refuse(connection, request, verdict.Reason)
	}
	return types.ActionContinue
}

func (s *stream) refuse(c guest.Connection, r guest.Request, reason policy.Reason) types.Action {
	s.source.Denied(reason)
	access.Log(c, r, reason)
	access.Refuse(reason)
	return types.ActionPause
}

// OnHttpStreamDone counts. The sidecar may call it twice.
func (s *stream) OnHttpStreamDone() {
	defer s.plugin.survive()
	if s.done || s.source == nil {
		return
	}
	s.done = true
	s.source.Finished(guest.ResponseCode())
}
