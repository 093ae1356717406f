package wasmtest

import (
	"strings"
	"time"
)

func generalCalls() map[string]hostcall {
	return map[string]hostcall{
		"proxy_log":                          {signature{"iii", "i"}, "", serveLog},
		"proxy_get_log_level":                {signature{"i", "i"}, abi021, serveLogLevel},
		"proxy_get_status":                   {signature{"iii", "i"}, "", serveStatus},
		"proxy_get_property":                 {signature{"iiii", "i"}, "", serveGetProperty},
		"proxy_set_property":                 {signature{"iiii", "i"}, "", serveSetProperty},
		"proxy_get_current_time_nanoseconds": {signature{"i", "i"}, "", serveTime},
		"proxy_set_tick_period_milliseconds": {signature{"i", "i"}, "", serveTickPeriod},
		"proxy_set_effective_context":        {signature{"i", "i"}, "", serveEffectiveContext},
		"proxy_done":                         {signature{"", "i"}, "", serveDone},
		"proxy_continue_stream":              {signature{"i", "i"}, "", serveContinue},
		"proxy_close_stream":                 {signature{"i", "i"}, "", serveClose},
		"proxy_http_call":                    {signature{"iiiiiiiiii", "i"}, "", serveHTTPCall},
		"proxy_send_local_response":          {signature{"iiiiiiii", "i"}, "", serveLocalResponse},
		"proxy_get_shared_data":              {signature{"iiiii", "i"}, "", serveGetShared},
		"proxy_set_shared_data":              {signature{"iiiii", "i"}, "", serveSetShared},
	}
}

func serveLog(v invocation, a []uint64) status {
	level := Level(a[0])
	if level > LevelCritical {
		return statusBadArgument
	}
	message, ok := v.text(a[1], a[2])
	if ok {
		v.scope.log(level, message, "")
	}
	return wrote(ok)
}

func serveLogLevel(v invocation, a []uint64) status {
	return wrote(v.put32(a[0], uint32(v.in.vm.options.LogLevel)))
}

func serveGetProperty(v invocation, a []uint64) status {
	path, ok := v.text(a[0], a[1])
	if !ok {
		return statusInvalidMemoryAccess
	}
	value, st := v.scope.property(path)
	if st != statusOK {
		return st
	}
	return v.give(value, a[2], a[3])
}

func serveSetProperty(v invocation, a []uint64) status {
	path, pathOK := v.text(a[0], a[1])
	value, valueOK := v.copied(a[2], a[3])
	if !pathOK || !valueOK {
		return statusInvalidMemoryAccess
	}
	return v.scope.setProperty(path, value)
}

func serveTime(v invocation, a []uint64) status {
	return wrote(v.put64(a[0], uint64(v.in.vm.now.UnixNano())))
}

func serveTickPeriod(v invocation, a []uint64) status {
	if p := v.scope.plugin; p != nil {
		p.setPeriod(time.Duration(uint32(a[0])) * time.Millisecond)
	}
	return statusOK
}

func serveEffectiveContext(v invocation, a []uint64) status {
	sc, ok := v.in.scopes[uint32(a[0])]
	if !ok {
		return statusBadArgument
	}
	v.in.effective = sc
	if sc.id == 0 {
		v.in.effective = nil
	}
	return statusOK
}

func serveDone(v invocation, _ []uint64) status {
	p := v.scope.plugin
	if p == nil || !p.pendingDone {
		return statusNotFound
	}
	p.pendingDone = false
	v.in.deferred = append(v.in.deferred, func() { p.delete(v.ctx) })
	return statusOK
}

// The stream types on the wire.
const (
	streamRequest = iota
	streamResponse
	streamDownstream
	streamUpstream
)

func serveContinue(v invocation, a []uint64) status {
	sc := v.scope
	switch uint32(a[0]) {
	case streamRequest, streamResponse:
		if sc.http != nil {
			sc.http.resume(v.ctx, uint32(a[0]))
		}
	case streamDownstream:
		if sc.tcp != nil {
			v.in.deferred = append(v.in.deferred, func() { sc.tcp.downstream.pass() })
		}
	case streamUpstream:
		return statusUnimplemented
	default:
		return statusBadArgument
	}
	return statusOK
}

func serveClose(v invocation, a []uint64) status {
	sc, kind := v.scope, uint32(a[0])
	switch kind {
	case streamRequest, streamResponse:
		if sc.http != nil {
			v.in.deferred = append(v.in.deferred, func() { sc.http.reset(v.ctx) })
		}
	case streamDownstream, streamUpstream:
		if sc.tcp != nil {
			v.in.deferred = append(v.in.deferred, func() { sc.tcp.closeFor(v.ctx, kind) })
		}
	default:
		return statusBadArgument
	}
	return statusOK
}

func serveLocalResponse(v invocation, a []uint64) status {
	details, detailsOK := v.text(a[1], a[2])
	body, bodyOK := v.copied(a[3], a[4])
	headers, headersOK := v.pairs(a[5], a[6])
	if !detailsOK || !bodyOK || !headersOK {
		return statusInvalidMemoryAccess
	}
	v.in.stopIteration = true
	reply := &LocalReply{
		Status:     int(uint32(a[0])),
		Body:       body,
		Details:    strings.Join(strings.Fields(details), "_"),
		GRPCStatus: -1,
	}
	if grpc := int32(uint32(a[7])); grpc >= 0 && grpc <= 16 {
		reply.GRPCStatus = int(grpc)
	}
	if s := v.scope.http; s != nil {
		v.in.deferred = append(v.in.deferred, func() { s.answer(v.ctx, reply, headers) })
	}
	return statusOK
}

func serveGetShared(v invocation, a []uint64) status {
	key, ok := v.text(a[0], a[1])
	if !ok {
		return statusInvalidMemoryAccess
	}
	value, ok := v.in.vm.options.Proxy.getShared(v.in.vm.options.VMID, key)
	if !ok {
		return statusNotFound
	}
	if st := v.give(value.data, a[2], a[3]); st != statusOK {
		return st
	}
	return wrote(v.put32(a[4], value.cas))
}

func serveSetShared(v invocation, a []uint64) status {
	key, keyOK := v.text(a[0], a[1])
	data, dataOK := v.copied(a[2], a[3])
	if !keyOK || !dataOK {
		return statusInvalidMemoryAccess
	}
	return v.in.vm.options.Proxy.setShared(v.in.vm.options.VMID, key, data, uint32(a[4]))
}
