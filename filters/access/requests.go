package access

import (
	"slices"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/telemetry"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// settle is the age, in milliseconds, up to which a request that was allowed may
// go on when an edit takes its right away: most are answered long before. Only
// what lasts, a stream or a WebSocket, is ended; an ordinary request would else
// be answered 503 for an edit that came a moment after it.
const settle = 2000

// Requests are those open in this VM, and what decides about them.
type Requests struct {
	rules
	// clock is the time of the last tick, in milliseconds since 1970.
	clock int64
	open  []*Request
	// headers is where every request reads its headers to; one callback runs at a
	// time in a VM.
	headers []policy.Header
}

// Request is one of them.
type Request struct {
	id         uint32
	connection guest.Connection
	// pairs are the header bytes, kept for a later judgement. They are the host's
	// one copy, so keeping them costs no other.
	pairs  []byte
	source *telemetry.Source
	// began is the clock when it was allowed: up to a tick early.
	began int64
	// place is the index among the open ones.
	place  int
	isOpen bool
	// isGRPC: what became of it is not in the code of the answer.
	isGRPC bool
}

// Replace makes a policy the one that decides from now on, as its configuration
// says; now is in milliseconds since 1970.
func (r *Requests) Replace(table *policy.Table, how config.Config, now int64) {
	r.replace(table, how)
	r.clock = now
}

// Judge reads and decides the request of the current stream; id is its context,
// now in seconds since 1970. What may not pass has been answered. Without
// counters nothing is counted.
func (q *Request) Judge(of *Requests, counters *telemetry.Counters, id uint32, now int64) types.Action {
	q.id = id
	q.connection, _ = guest.ReadConnection()
	q.source = counters.Source(q.connection.Label)
	verdict := policy.Verdict{Reason: policy.ReasonReject}
	var read guest.Request
	var ok bool
	if q.pairs, ok = guest.RequestPairs(); ok {
		read, verdict = of.judge(q, now)
		q.isGRPC = isGRPC(read.Headers)
	}
	of.tell(verdict)
	if !verdict.Allow {
		q.source.Denied(verdict.Reason)
		log(q.connection, "method="+read.Method+" path="+read.Path, verdict.Reason)
		refuse(verdict.Reason)
		return types.ActionPause
	}
	if verdict.Reason != policy.ReasonNone {
		q.source.Audited(verdict.Reason)
	}
	of.add(q)
	return types.ActionContinue
}

func (r *Requests) judge(q *Request, now int64) (guest.Request, policy.Verdict) {
	read, ok := guest.ParsePairs(q.pairs, r.headers)
	if !ok {
		return read, policy.Verdict{Reason: policy.ReasonReject}
	}
	r.headers = read.Headers
	return read, r.request(q.connection, read, now)
}

// Panicked refuses the current stream after a failure of the stage itself.
func Panicked() { refuse(policy.ReasonPanic) }

// Done counts a finished request. The sidecar may call it twice.
func (q *Request) Done(of *Requests) {
	of.remove(q)
	if q.source == nil {
		return
	}
	q.source.Finished(q.code())
	q.source = nil
}

// code is the one that the request is counted under.
func (q *Request) code() int {
	code := guest.ResponseCode()
	if !q.isGRPC || code != 200 {
		return code
	}
	if status, ok := guest.GRPCStatus(); ok {
		return traffic.GRPC(status)
	}
	return code
}

func isGRPC(headers []policy.Header) bool {
	for _, h := range headers {
		if h.Name == "content-type" {
			return strings.HasPrefix(h.Value, "application/grpc")
		}
	}
	return false
}

func (r *Requests) add(q *Request) {
	q.place, q.isOpen, q.began = len(r.open), true, r.clock
	r.open = append(r.open, q)
}

func (r *Requests) remove(q *Request) {
	if !q.isOpen {
		return
	}
	last := len(r.open) - 1
	r.open[q.place] = r.open[last]
	r.open[q.place].place = q.place
	r.open[last] = nil
	r.open = r.open[:last]
	q.isOpen = false
}

// Revoke ends every open request that an edit of the policy took the right from:
// a stream or a WebSocket would else keep it for as long as it lasts. now is in
// milliseconds since 1970.
func (r *Requests) Revoke(now int64) {
	r.clock = now
	if !r.edited {
		return
	}
	r.edited = false
	for _, q := range slices.Clone(r.open) {
		_, verdict := r.judge(q, now/1000)
		switch {
		case verdict.Allow:
		case now-q.began < settle:
			r.edited = true // looked at again at the next tick
		default:
			r.end(q, verdict.Reason)
		}
	}
}

func (r *Requests) end(q *Request, reason policy.Reason) {
	if proxywasm.SetEffectiveContext(q.id) != nil {
		r.remove(q)
		return
	}
	r.tell(policy.Verdict{Reason: reason})
	if !guest.CloseRequest() {
		proxywasm.LogError("access: a revoked request could not be ended")
		r.edited = true // tried again at the next tick
		return
	}
	q.source.Revoked(reason)
	r.remove(q)
}
