package wasmtest

import (
	"context"
	"strconv"
)

// Action is whether Envoy goes on with what the guest has just seen.
type Action int

// What follows a callback.
const (
	Continue Action = iota
	Pause
)

// String returns the action in lower case.
func (a Action) String() string {
	if a == Continue {
		return "continue"
	}
	return "pause"
}

// StreamInfo is what a stream or connection is known by before it begins.
type StreamInfo struct {
	// Properties are readable by the guest. The map is used, not copied:
	// change it between calls as the stream goes on.
	Properties Properties
}

// LocalReply is an answer that did not come from upstream.
type LocalReply struct {
	Status int
	// Headers are what the client gets, :status included, after the guest's
	// own response callbacks have seen them.
	Headers []Pair
	Body    []byte
	// Details is the response code details: blanks become underscores, and
	// "wasm_fail_stream" means that the VM has failed.
	Details string
	// GRPCStatus is the status the guest named, or -1.
	GRPCStatus int
}

// DetailsFailed are the details of the 503 that a failed VM causes.
const DetailsFailed = "wasm_fail_stream"

// Result says what became of an event.
type Result struct {
	Action Action
	// Reply is the stream's local reply, from this event or an earlier one.
	Reply *LocalReply
	// Reset says that the stream has been torn down by the guest.
	Reset bool
}

// Message is as much of a request or response as has gone on to the next hop.
type Message struct {
	// Headers is nil while the headers are held back.
	Headers  []Pair
	Body     []byte
	Trailers []Pair
}

// Stream is one HTTP request and its response in a plugin. Events must come in
// their natural order; after a local reply or a reset further ones are
// swallowed, as Envoy swallows them.
type Stream struct {
	plugin   *Plugin
	in       *instance
	scope    *scope
	info     StreamInfo
	request  half
	response half
	// reply is set once; failed says it is the 503 of a failed VM, which the
	// guest never hears of.
	reply  *LocalReply
	failed bool
	// unfiltered says that the VM had failed before the stream began, and that
	// the plugin fails open.
	unfiltered bool
	wasReset   bool
	logging    bool
	done       bool
	responding bool
}

// HTTP returns a new stream. The guest hears of it with the request headers.
func (p *Plugin) HTTP(info StreamInfo) *Stream {
	in := p.root.in
	s := &Stream{plugin: p, in: in, info: info}
	s.request.names = halfNames{"proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers"}
	s.response.names = halfNames{"proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"}
	s.scope = in.newScope(p)
	s.scope.http = s
	p.uses++
	return s
}

// ID returns the stream's context id, final once the request headers are in.
func (s *Stream) ID() uint32 { return s.scope.id }

// RequestHeaders begins the stream: proxy_on_context_create, then
// proxy_on_request_headers.
func (s *Stream) RequestHeaders(ctx context.Context, headers []Pair, end bool) Result {
	s.create(ctx)
	return s.event(ctx, &s.request, frame{kind: frameHeaders, pairs: headers, end: end})
}

// RequestBody delivers a part of the request's body.
func (s *Stream) RequestBody(ctx context.Context, data []byte, end bool) Result {
	return s.event(ctx, &s.request, frame{kind: frameBody, data: data, end: end})
}

// RequestTrailers delivers the request's trailers.
func (s *Stream) RequestTrailers(ctx context.Context, trailers []Pair) Result {
	return s.event(ctx, &s.request, frame{kind: frameTrailers, pairs: trailers})
}

// ResponseHeaders delivers the upstream's response headers.
func (s *Stream) ResponseHeaders(ctx context.Context, headers []Pair, end bool) Result {
	return s.event(ctx, &s.response, frame{kind: frameHeaders, pairs: headers, end: end})
}

// ResponseBody delivers a part of the response's body.
func (s *Stream) ResponseBody(ctx context.Context, data []byte, end bool) Result {
	return s.event(ctx, &s.response, frame{kind: frameBody, data: data, end: end})
}

// ResponseTrailers delivers the response's trailers.
func (s *Stream) ResponseTrailers(ctx context.Context, trailers []Pair) Result {
	return s.event(ctx, &s.response, frame{kind: frameTrailers, pairs: trailers})
}

// Upstream returns what the upstream has received of the request.
func (s *Stream) Upstream() Message { return s.request.sent }

// Downstream returns what the client has received through the response
// callbacks, a local reply included.
func (s *Stream) Downstream() Message { return s.response.sent }

// Result returns the stream's state without an event: ticks can change it.
func (s *Stream) Result() Result {
	r := Result{Reply: s.reply, Reset: s.wasReset}
	if s.reply != nil || s.wasReset || s.request.paused || s.response.paused {
		r.Action = Pause
	}
	return r
}

func (s *Stream) create(ctx context.Context) {
	if s.scope.created {
		return
	}
	if s.plugin.revive(ctx); s.plugin.root.in != s.in {
		s.in = s.plugin.root.in
		s.scope = s.in.newScope(s.plugin)
		s.scope.http = s
	}
	s.scope.created, s.unfiltered = true, s.plugin.open()
	s.in.callback(ctx, s.scope, "proxy_on_context_create", uint64(s.scope.id), uint64(s.plugin.rootIn(s.in)))
	s.in.settle()
}

// Log runs proxy_on_log once more: Envoy may do so, and a guest must bear it.
func (s *Stream) Log(ctx context.Context) {
	if s.done {
		return
	}
	s.create(ctx)
	s.logging = true
	s.in.callback(ctx, s.scope, "proxy_on_log", uint64(s.scope.id))
	s.logging = false
	s.in.settle()
}

// Done ends the stream: proxy_on_log, proxy_on_done, proxy_on_delete. A second
// Done does nothing.
func (s *Stream) Done(ctx context.Context) {
	if s.done {
		return
	}
	s.Log(ctx)
	if s.done {
		return
	}
	s.done = true
	for _, name := range []string{"proxy_on_done", "proxy_on_delete"} {
		s.in.callback(ctx, s.scope, name, uint64(s.scope.id))
		s.in.settle()
	}
	delete(s.in.scopes, s.scope.id)
	s.plugin.release(ctx)
}

// reset ends the stream as proxy_close_stream asks.
func (s *Stream) reset(ctx context.Context) {
	if s.done || s.wasReset {
		return
	}
	s.wasReset = true
	s.Done(ctx)
}

// answer sends a local reply. Before any response it passes the guest's
// response callbacks; while the guest sees response headers it replaces them;
// later only a reset is left.
func (s *Stream) answer(ctx context.Context, reply *LocalReply, extra []Pair) {
	if s.done || s.reply != nil {
		return
	}
	started := s.response.headers != nil
	if started && s.response.sent.Headers != nil {
		s.reset(ctx)
		return
	}
	s.reply = reply
	headers := replyHeaders(reply, extra)
	if started {
		reply.Headers = headers.list()
		return
	}
	s.responding = true
	s.event(ctx, &s.response, frame{kind: frameHeaders, pairs: headers.pairs, end: len(reply.Body) == 0})
	if len(reply.Body) > 0 && !s.done {
		s.event(ctx, &s.response, frame{kind: frameBody, data: reply.Body, end: true})
	}
	s.responding = false
	reply.Headers = s.response.headers.list()
	if s.response.sent.Headers != nil {
		reply.Body = s.response.sent.Body
	}
}

func replyHeaders(reply *LocalReply, extra []Pair) *headerMap {
	headers := newHeaderMap(Pairs(":status", strconv.Itoa(reply.Status)))
	for _, p := range extra {
		headers.add(p.Name, p.Value)
	}
	if len(reply.Body) == 0 {
		headers.remove("content-length")
		headers.remove("content-type")
		return headers
	}
	headers.replace("content-length", strconv.Itoa(len(reply.Body)))
	if _, ok := headers.get("content-type"); !ok {
		headers.add("content-type", "text/plain")
	}
	return headers
}

// failStream answers 503 for a VM that has failed.
func (s *Stream) failStream(ctx context.Context) {
	if s.failed {
		return
	}
	s.failed = true
	s.answer(ctx, &LocalReply{Status: 503, Details: DetailsFailed, GRPCStatus: 14}, nil)
}
