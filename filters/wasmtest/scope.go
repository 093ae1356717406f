package wasmtest

// scope is one Proxy-Wasm context: the VM (id 0), a plugin, an HTTP stream or
// a TCP connection.
type scope struct {
	in     *instance
	id     uint32
	plugin *Plugin
	http   *Stream
	tcp    *Connection
	// state holds what the guest wrote with proxy_set_property.
	state map[string][]byte
	// answer is the outcome of the HTTP call that the guest is hearing of, and
	// lastCall its status: root contexts only.
	answer   *answered
	lastCall callStatus
	// created says that the guest knows the context.
	created bool
}

func (sc *scope) streamInfo() *StreamInfo {
	switch {
	case sc.http != nil:
		return &sc.http.info
	case sc.tcp != nil:
		return &sc.tcp.info
	}
	return nil
}

func (sc *scope) log(level Level, message, raw string) {
	line := LogLine{At: sc.in.vm.now, Level: level, Context: sc.id, Message: message, raw: raw}
	if sc.plugin != nil {
		line.Plugin = sc.plugin.config.Name
	}
	sc.in.vm.logs.add(line)
}

// The map types on the wire.
const (
	mapRequestHeaders = iota
	mapRequestTrailers
	mapResponseHeaders
	mapResponseTrailers
	mapCallHeaders  = 6
	mapCallTrailers = 7
	mapLast         = mapCallTrailers
)

// readableMap returns the map for reading, or nil where Envoy has none: once
// headers have gone on they are out of reach until the access log.
func (sc *scope) readableMap(kind uint32) *headerMap {
	if kind == mapCallHeaders || kind == mapCallTrailers {
		return sc.root().answer.openMap(kind)
	}
	s := sc.http
	if s == nil {
		return nil
	}
	if !s.logging {
		return s.openMap(kind)
	}
	switch kind {
	case mapRequestHeaders:
		return s.request.headers
	case mapResponseHeaders:
		return s.response.headers
	case mapResponseTrailers:
		return s.response.trailers
	}
	return nil
}

// writableMap returns the map for writing, or nil. Writing trailers while the
// last of the body is seen creates them.
func (sc *scope) writableMap(kind uint32) *headerMap {
	s := sc.http
	if s == nil {
		return nil
	}
	if m := s.openMap(kind); m != nil {
		return m
	}
	half := &s.request
	switch kind {
	case mapRequestTrailers:
	case mapResponseTrailers:
		half = &s.response
	default:
		return nil
	}
	if !half.bodyOpen || !half.end {
		return nil
	}
	half.trailers, half.trailersOpen = &headerMap{}, true
	return half.trailers
}

// The buffer types on the wire.
const (
	bufferRequestBody = iota
	bufferResponseBody
	bufferDownstreamData
	bufferUpstreamData
	bufferCallResponseBody
	bufferGrpcMessage
	bufferVMConfiguration
	bufferPluginConfiguration
	bufferCallData
	bufferLast = bufferCallData
)

// readableBuffer returns the bytes; ok is false where Envoy has no buffer at
// all, which guests see as NotFound, unlike an empty one.
func (sc *scope) readableBuffer(kind uint32) (data []byte, ok bool) {
	switch kind {
	case bufferVMConfiguration:
		return sc.in.vm.options.Configuration, true
	case bufferPluginConfiguration:
		if sc.plugin == nil || !sc.plugin.configuring || sc != sc.plugin.root {
			return nil, false
		}
		return sc.plugin.config.Configuration, true
	case bufferCallResponseBody:
		if a := sc.root().answer; a != nil {
			return a.body, true
		}
		return nil, false
	}
	if b := sc.writableBuffer(kind); b != nil {
		return *b, true
	}
	return nil, true
}

func (sc *scope) writableBuffer(kind uint32) *[]byte {
	switch {
	case kind == bufferRequestBody && sc.http != nil && sc.http.request.bodyOpen:
		return &sc.http.request.body
	case kind == bufferResponseBody && sc.http != nil && sc.http.response.bodyOpen:
		return &sc.http.response.body
	case kind == bufferDownstreamData && sc.tcp != nil && sc.tcp.downstream.open:
		return &sc.tcp.downstream.data
	case kind == bufferUpstreamData && sc.tcp != nil && sc.tcp.upstream.open:
		return &sc.tcp.upstream.data
	}
	return nil
}

// changeBuffer writes into a buffer. Envoy knows three edits: before the
// beginning, instead of everything, after the end.
func changeBuffer(buffer *[]byte, start, length uint32, data []byte) status {
	size := uint32(len(*buffer))
	switch {
	case start == 0 && length == 0:
		*buffer = append(append([]byte{}, data...), *buffer...)
	case start == 0 && length >= size:
		*buffer = append([]byte{}, data...)
	case start != 0 && start >= size:
		*buffer = append(append([]byte{}, *buffer...), data...)
	default:
		return statusBadArgument
	}
	return statusOK
}
