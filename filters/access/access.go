// Package access is the stage that lets a request or a connection pass, or
// refuses it, and that ends what is open when an edit takes its right away.
//
// It is a thin adapter: it hands what the guest read to the policy and acts on
// the verdict. It fails closed: what it cannot read, it denies. It never tells
// the caller why.
package access

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// rules are what decides in a VM right now. They outlive the plugin that brought
// them: an edit makes a new plugin, and what was opened under the one before is
// judged again.
type rules struct {
	table *policy.Table
	mode  policy.Mode
	// tells: verdicts are left for the access log.
	tells bool
	// edited says that something open has not been judged by the table yet.
	edited bool
}

func (r *rules) replace(table *policy.Table, c config.Config) {
	*r = rules{table: table, mode: c.Mode, tells: c.Tells, edited: true}
}

// tell leaves what became of the current stream for the access log, if there is one.
func (r *rules) tell(v policy.Verdict) {
	if r.tells {
		guest.TellVerdict(v)
	}
}

// request judges one request that came on a connection. now is in seconds since
// 1970. A connection that outlived its certificate has no peer any more.
func (r *rules) request(c guest.Connection, q guest.Request, now int64) policy.Verdict {
	if c.Expires <= now {
		return policy.Verdict{Reason: policy.ReasonExpired}
	}
	return r.mode.InForce(r.table.Decide(policy.Request{
		Peer:    c.Peer,
		Port:    c.Port,
		Method:  q.Method,
		Path:    q.Path,
		Headers: q.Headers,
	}))
}

// connection judges one connection to an opaque port.
func (r *rules) connection(c guest.Connection, now int64) policy.Verdict {
	if c.Expires <= now {
		return policy.Verdict{Reason: policy.ReasonExpired}
	}
	return r.mode.InForce(r.table.DecideConnection(c.Peer, c.Port))
}

// refuse answers the current stream for the caller: 400 where the path cannot be
// read in one way, else 403.
func refuse(reason policy.Reason) {
	status := uint32(403)
	if reason == policy.ReasonReject {
		status = 400
	}
	if err := proxywasm.SendHttpResponse(status, nil, []byte(policy.Refusal), -1); err != nil {
		proxywasm.LogError("access: the denial could not be sent: " + err.Error())
	}
}

// log tells the operator what was refused and why. Nothing is written unless the
// sidecar logs at level info.
func log(c guest.Connection, what string, reason policy.Reason) {
	proxywasm.LogInfo("denied peer=" + c.Peer + " " + what + " clause=" + string(reason))
}
