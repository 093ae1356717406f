package access

import (
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/telemetry"
)

// Requests are those open in this VM, and what decides about them.
type Requests struct {
	rules
	open []*Request
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
	// place is the index among the open ones.
	place  int
	isOpen bool
}

// Replace makes a policy the one that decides from now on.
func (r *Requests) Replace(table *policy.Table, mode policy.Mode) { r.replace(table, mode) }

// Judge reads and decides the request of the current stream; id is its context,
// now in seconds since 1970. What may not pass has been answered.
func (q *Request) Judge(of *Requests, counters *telemetry.Counters, id uint32, now int64) types.Action {
	q.id = id
	q.connection, _ = guest.ReadConnection()
	q.source = counters.Source(q.connection.Label)
	verdict := policy.Verdict{Reason: policy.ReasonReject}
	var read guest.Request
	var ok bool
	if q.pairs, ok = guest.RequestPairs(); ok {
		read, verdict = of.judge(q, now)
	}
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
	if q.source == nil {
		return
	}
	of.remove(q)
	q.source.Finished(guest.ResponseCode())
	q.source = nil
}

func (r *Requests) add(q *Request) {
	q.place, q.isOpen = len(r.open), true
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
// a stream or a WebSocket would else keep it for as long as it lasts.
func (r *Requests) Revoke(now int64) {
	if !r.edited {
		return
	}
	r.edited = false
	for _, q := range slices.Clone(r.open) {
		if _, verdict := r.judge(q, now); !verdict.Allow {
			r.end(q, verdict.Reason)
		}
	}
}

func (r *Requests) end(q *Request, reason policy.Reason) {
	if proxywasm.SetEffectiveContext(q.id) != nil {
		r.remove(q)
		return
	}
	if !guest.CloseRequest() {
		proxywasm.LogError("access: a revoked request could not be ended")
		r.edited = true // tried again at the next tick
		return
	}
	q.source.Revoked(reason)
	r.remove(q)
}
