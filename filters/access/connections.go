package access

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/telemetry"
)

// Connections are those to opaque ports that are open in this VM, and what
// decides about them.
type Connections struct {
	rules
	open map[uint32]*Connection
	now  int64
}

// Connection is one of them. It is judged when the first byte arrives from
// either side, or at the first tick after the handshake: before that there is no
// certificate, and a server may speak first.
type Connection struct {
	types.DefaultTcpContext
	of       *Connections
	counters *telemetry.Counters
	panics   guest.Counter
	id       uint32
	facts    guest.Connection
	source   *telemetry.Source
	verdict  policy.Verdict
}

// Replace makes a policy the one that decides from now on, as its configuration
// says; now is in seconds since 1970.
func (c *Connections) Replace(table *policy.Table, how config.Config, now int64) {
	c.replace(table, how)
	c.now = now
	if c.open == nil {
		c.open = map[uint32]*Connection{}
	}
}

// Open adds a connection; id is its context.
func (c *Connections) Open(id uint32, counters *telemetry.Counters, panics guest.Counter) *Connection {
	conn := &Connection{of: c, id: id, counters: counters, panics: panics}
	c.open[id] = conn
	return conn
}

// OnDownstreamData lets bytes of the client through, or ends the connection.
func (c *Connection) OnDownstreamData(bytes int, _ bool) types.Action {
	action := c.pass()
	if action == types.ActionContinue {
		c.source.Received(bytes)
	}
	return action
}

// OnUpstreamData does so with bytes of a server.
func (c *Connection) OnUpstreamData(bytes int, _ bool) types.Action {
	action := c.pass()
	if action == types.ActionContinue {
		c.source.Sent(bytes)
	}
	return action
}

// OnStreamDone forgets the connection.
func (c *Connection) OnStreamDone() { delete(c.of.open, c.id) }

func (c *Connection) pass() (action types.Action) {
	defer func() {
		if recover() != nil {
			c.panics.Increment()
			c.close()
			action = types.ActionPause
		}
	}()
	if c.source == nil {
		c.judge()
	}
	if !c.verdict.Allow {
		c.close()
		return types.ActionPause
	}
	return types.ActionContinue
}

// judge decides for the first time.
func (c *Connection) judge() {
	c.facts, _ = guest.ReadConnection()
	c.source = c.counters.Source(c.facts.Label)
	c.verdict = c.of.connection(c.facts, c.of.now)
	c.of.tell(c.verdict)
	switch {
	case !c.verdict.Allow:
		c.source.Denied(c.verdict.Reason)
		log(c.facts, "connection", c.verdict.Reason)
	case c.verdict.Reason != policy.ReasonNone:
		c.source.Audited(c.verdict.Reason)
		c.source.Connected()
	default:
		c.source.Connected()
	}
}

// close ends the connection whose context is in effect. False: the host refused,
// and the next tick tries again.
func (c *Connection) close() bool {
	if err := proxywasm.CloseDownstream(); err != nil {
		proxywasm.LogError("access: a connection could not be closed: " + err.Error())
		c.of.edited = true
		return false
	}
	delete(c.of.open, c.id)
	return true
}

// Revoke ends every connection whose certificate ended at or before now, in
// seconds since 1970, or that an edit of the policy took the right from. It also
// judges those on which nobody has said anything yet: the application has been
// connected to since the handshake.
func (c *Connections) Revoke(now int64) {
	c.now = now
	edited := c.edited
	c.edited = false
	for id, conn := range c.open {
		silent := conn.source == nil
		if !silent && !edited && conn.facts.Expires > now {
			continue
		}
		if proxywasm.SetEffectiveContext(id) != nil {
			delete(c.open, id)
			continue
		}
		if silent {
			conn.judgeSilent()
		} else {
			conn.judgeAgain()
		}
	}
}

func (c *Connection) judgeSilent() {
	if _, ok := guest.ReadConnection(); !ok {
		return // the handshake is not over
	}
	if c.judge(); !c.verdict.Allow {
		c.close()
	}
}

func (c *Connection) judgeAgain() {
	if c.verdict = c.of.connection(c.facts, c.of.now); c.verdict.Allow {
		return
	}
	c.of.tell(c.verdict)
	if c.close() {
		c.source.Revoked(c.verdict.Reason)
	}
}
