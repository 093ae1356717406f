package access

import (
	"maps"
	"slices"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

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
// either side: before that there is no certificate, and a server may speak first.
type Connection struct {
	types.DefaultTcpContext
	of       *Connections
	counters *telemetry.Counters
	panics   proxywasm.MetricCounter
	id       uint32
	facts    guest.Connection
	source   *telemetry.Source
	verdict  policy.Verdict
}

// Replace makes a policy the one that decides from now on; now is in seconds
// since 1970.
func (c *Connections) Replace(table *policy.Table, mode policy.Mode, now int64) {
	c.replace(table, mode)
	c.now = now
	if c.open == nil {
		c.open = map[uint32]*Connection{}
	}
}

// Open adds a connection; id is its context.
func (c *Connections) Open(id uint32, counters *telemetry.Counters, panics proxywasm.MetricCounter) *Connection {
	conn := &Connection{of: c, id: id, counters: counters, panics: panics}
	c.open[id] = conn
	return conn
}

// OnDownstreamData lets bytes of the client through, or ends the connection.
func (c *Connection) OnDownstreamData(int, bool) types.Action { return c.pass() }

// OnUpstreamData does so with bytes of a server.
func (c *Connection) OnUpstreamData(int, bool) types.Action { return c.pass() }

// OnStreamDone forgets the connection.
func (c *Connection) OnStreamDone() { delete(c.of.open, c.id) }

func (c *Connection) pass() (action types.Action) {
	defer func() {
		if recover() != nil {
			c.panics.Increment(1)
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

// judge decides once, at the first byte.
func (c *Connection) judge() {
	c.facts, _ = guest.ReadConnection()
	c.source = c.counters.Source(c.facts.Label)
	c.verdict = c.of.connection(c.facts, c.of.now)
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

func (c *Connection) close() bool {
	if err := proxywasm.CloseDownstream(); err != nil {
		proxywasm.LogError("access: a connection could not be closed: " + err.Error())
		return false
	}
	return true
}

// Revoke ends every connection whose certificate ended at or before now, in
// seconds since 1970, or that an edit of the policy took the right from.
func (c *Connections) Revoke(now int64) {
	c.now = now
	edited := c.edited
	c.edited = false
	for _, id := range slices.Collect(maps.Keys(c.open)) {
		conn := c.open[id]
		if conn.source == nil || !edited && conn.facts.Expires > now {
			continue
		}
		if conn.verdict = c.connection(conn.facts, now); !conn.verdict.Allow {
			c.end(conn)
		}
	}
}

func (c *Connections) end(conn *Connection) {
	if proxywasm.SetEffectiveContext(conn.id) != nil {
		delete(c.open, conn.id)
		return
	}
	if !conn.close() {
		c.edited = true // tried again at the next tick
		return
	}
	conn.source.Revoked(conn.verdict.Reason)
	delete(c.open, conn.id)
}
