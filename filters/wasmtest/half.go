package wasmtest

import "context"

type frameKind int

const (
	frameHeaders frameKind = iota
	frameBody
	frameTrailers
)

// frame is one event of a request or response.
type frame struct {
	kind  frameKind
	pairs []Pair
	data  []byte
	end   bool
}

// halfNames are the guest's callbacks by frameKind.
type halfNames [3]string

// half is one direction of a stream.
type half struct {
	names             halfNames
	headers, trailers *headerMap
	// body is what the guest sees; held is what an earlier pause kept from it.
	body, held []byte
	// The open flags say what the guest can reach.
	headersOpen, bodyOpen, trailersOpen bool
	// buffering hands the whole body so far to the guest with each new part.
	buffering bool
	end       bool
	// paused stops everything after the headers, which then queues.
	paused bool
	// resumed says that the guest continued the stream from within the running
	// callback, which then counts for more than the pause it returns.
	resumed bool
	queue   []frame
	sent    Message
}

// What a guest may answer to a part of a body; other callbacks know only 0
// and not 0.
const (
	bodyContinue = iota
	bodyBuffer
	bodyWatermark
	bodyDiscard
)

// openMap returns the header map in reach of the guest outside the access log.
func (s *Stream) openMap(kind uint32) *headerMap {
	switch {
	case kind == mapRequestHeaders && s.request.headersOpen:
		return s.request.headers
	case kind == mapRequestTrailers && s.request.trailersOpen:
		return s.request.trailers
	case kind == mapResponseHeaders && s.response.headersOpen:
		return s.response.headers
	case kind == mapResponseTrailers && s.response.trailersOpen:
		return s.response.trailers
	}
	return nil
}

// event runs one frame through the guest, or queues or swallows it.
func (s *Stream) event(ctx context.Context, h *half, f frame) Result {
	swallowed := s.done || s.wasReset || (s.reply != nil && !s.responding)
	switch {
	case swallowed:
	case h.paused && f.kind != frameHeaders:
		h.queue = append(h.queue, f)
	default:
		s.deliver(ctx, h, f)
	}
	r := Result{Reply: s.reply, Reset: s.wasReset}
	if swallowed || h.paused || len(h.held) > 0 || r.Reply != nil || r.Reset {
		r.Action = Pause
	}
	return r
}

func (s *Stream) deliver(ctx context.Context, h *half, f frame) {
	h.end = f.end
	argument := len(f.pairs)
	switch f.kind {
	case frameHeaders:
		h.headers, h.headersOpen = newHeaderMap(f.pairs), true
	case frameBody:
		if h.body = append([]byte{}, f.data...); h.buffering {
			h.body, h.held = append(h.held, f.data...), nil
		}
		h.bodyOpen = true
		argument = len(h.body)
	case frameTrailers:
		h.trailers, h.trailersOpen = newHeaderMap(f.pairs), true
	}
	h.resumed = false
	action := s.consult(ctx, h.names[f.kind], argument, f.end)
	if h.resumed {
		action = bodyContinue
	}
	if s.done || (s.reply != nil && !s.responding) {
		return
	}
	switch {
	case f.kind == frameBody:
		h.settleBody(action)
	case action == 0:
		h.release(f.kind)
	case f.kind == frameHeaders:
		h.paused = true
	}
}

// consult asks the guest, or stands in for one that has failed.
func (s *Stream) consult(ctx context.Context, name string, argument int, end bool) uint32 {
	if s.failed || s.unfiltered {
		return 0
	}
	var action uint64
	stopped := false
	if s.in.failure == nil {
		// Exports that take no end of stream drop the last argument.
		action, stopped = s.in.callback(ctx, s.scope, name,
			uint64(s.scope.id), uint64(uint32(argument)), uint64(binaryAnswer(end)))
	}
	if s.in.failure != nil {
		s.failStream(ctx)
		s.in.settle()
		return bodyDiscard
	}
	s.in.settle()
	if stopped || action > bodyDiscard {
		return bodyDiscard
	}
	return uint32(action)
}

// settleBody keeps or passes the part of the body the guest has just seen.
func (h *half) settleBody(action uint32) {
	h.buffering = action == bodyBuffer
	switch action {
	case bodyContinue:
		h.release(frameBody)
	case bodyBuffer:
		h.held = h.body
	case bodyWatermark:
		h.held = append(h.held, h.body...)
		h.body = nil
	case bodyDiscard:
		h.body = nil
	}
}

// release passes a frame on and takes it out of the guest's reach.
func (h *half) release(kind frameKind) {
	switch kind {
	case frameHeaders:
		h.headersOpen = false
		h.sent.Headers = h.headers.list()
	case frameBody:
		h.sent.Body = append(append(h.sent.Body, h.held...), h.body...)
		h.held, h.body, h.bodyOpen, h.buffering = nil, nil, false, false
	case frameTrailers:
		h.sent.Trailers = h.trailers.list()
		h.trailersOpen = false
		return
	}
	if h.end && h.trailersOpen {
		h.release(frameTrailers)
	}
}

// resume serves proxy_continue_stream. The request is out of the guest's reach
// at once, even when the guest continues the response; the frames follow when
// the guest has returned.
func (s *Stream) resume(ctx context.Context, kind uint32) {
	h := &s.request
	if kind == streamResponse {
		h = &s.response
	}
	s.request.headersOpen, s.request.bodyOpen, s.request.trailersOpen = false, false, false
	s.in.deferred = append(s.in.deferred, func() { s.flush(ctx, h) })
}

// flush passes on what a pause held back, then what queued behind it.
func (s *Stream) flush(ctx context.Context, h *half) {
	if s.done || s.reply != nil || h.headers == nil {
		return
	}
	h.resumed = true
	if h.sent.Headers == nil {
		h.release(frameHeaders)
	}
	if len(h.held) > 0 {
		if h.buffering {
			h.body = nil
		}
		h.release(frameBody)
	}
	if h.trailers != nil && h.sent.Trailers == nil {
		h.release(frameTrailers)
	}
	h.paused = false
	for len(h.queue) > 0 && !h.paused {
		f := h.queue[0]
		h.queue = h.queue[1:]
		s.deliver(ctx, h, f)
	}
}
