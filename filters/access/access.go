// Package access is the stage that lets a request pass or answers it 403.
//
// It is a thin adapter: it hands what the guest read to policy.Decide and acts
// on the verdict. It fails closed: what it cannot read, it denies. It never
// tells the caller why.
package access

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// body is all a denied caller learns.
const body = "access denied\n"

// Decide judges one request that came on a connection. now is in seconds since
// 1970. A connection that outlived its certificate has no peer any more.
func Decide(table *policy.Table, c guest.Connection, r guest.Request, now int64) policy.Verdict {
	if c.Expires <= now {
		return policy.Verdict{Reason: policy.ReasonExpired}
	}
	return table.Decide(policy.Request{
		Peer:    c.Peer,
		Port:    c.Port,
		Method:  r.Method,
		Path:    r.Path,
		Headers: r.Headers,
	})
}

// Refuse answers the current stream for the caller: 400 where the path cannot
// be read in one way, else 403.
func Refuse(reason policy.Reason) {
	status := uint32(403)
	if reason == policy.ReasonReject {
		status = 400
	}
	if err := proxywasm.SendHttpResponse(status, nil, []byte(body), -1); err != nil {
		proxywasm.LogError("access: the denial could not be sent: " + err.Error())
	}
}

// Log tells the operator what was refused and why. Nothing is written unless
// the sidecar logs at level info.
func Log(c guest.Connection, r guest.Request, reason policy.Reason) {
	proxywasm.LogInfo("denied peer=" + c.Peer + " method=" + r.Method + " path=" + r.Path +
		" clause=" + string(reason))
}
