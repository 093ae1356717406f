package wasmtest

import "context"

// CloseReason says who closed a connection, numbered as on the wire.
type CloseReason uint32

// Who closed.
const (
	CloseUnknown CloseReason = iota
	CloseLocal
	CloseRemote
)

// End is a side of a connection that a guest can close.
type End int

// The two ends; closing either closes the client's connection, as Envoy does.
const (
	Downstream End = streamDownstream
	Upstream   End = streamUpstream
)

// flow is one direction of a connection's bytes.
type flow struct {
	// data is what the guest sees: everything since the last pass.
	data []byte
	open bool
	sent []byte
}

// pass hands everything on.
func (f *flow) pass() {
	f.sent = append(f.sent, f.data...)
	f.data, f.open = nil, false
}

// ConnectionResult says what became of an event.
type ConnectionResult struct {
	Action Action
	// Closed says that the connection is over.
	Closed bool
}

// Connection is one TCP connection in a plugin used as a network filter.
type Connection struct {
	plugin               *Plugin
	in                   *instance
	scope                *scope
	info                 StreamInfo
	downstream, upstream flow
	closings             []End
	closed               bool
	// unfiltered is as in Stream.
	unfiltered bool
}

// TCP returns a new connection. The guest hears of it with
// [Connection.Open].
func (p *Plugin) TCP(info StreamInfo) *Connection {
	in := p.root.in
	c := &Connection{plugin: p, in: in, info: info, scope: in.newScope(p)}
	c.scope.tcp = c
	p.uses++
	return c
}

// ID returns the connection's context id, final once it is open.
func (c *Connection) ID() uint32 { return c.scope.id }

// Open begins the connection: proxy_on_context_create, then
// proxy_on_new_connection.
func (c *Connection) Open(ctx context.Context) ConnectionResult {
	if c.closed {
		return c.result(Pause)
	}
	if c.plugin.revive(ctx); c.plugin.root.in != c.in {
		c.in = c.plugin.root.in
		c.scope = c.in.newScope(c.plugin)
		c.scope.tcp = c
	}
	c.scope.created, c.unfiltered = true, c.plugin.open()
	c.in.callback(ctx, c.scope, "proxy_on_context_create", uint64(c.scope.id), uint64(c.plugin.rootIn(c.in)))
	c.in.settle()
	return c.result(c.consult(ctx, "proxy_on_new_connection"))
}

// DownstreamData delivers bytes from the client. While the guest pauses, later
// calls show it everything that has gathered.
func (c *Connection) DownstreamData(ctx context.Context, data []byte, end bool) ConnectionResult {
	return c.flowed(ctx, &c.downstream, "proxy_on_downstream_data", data, end)
}

// UpstreamData delivers bytes from the upstream; end also makes
// proxy_on_upstream_connection_close.
func (c *Connection) UpstreamData(ctx context.Context, data []byte, end bool) ConnectionResult {
	r := c.flowed(ctx, &c.upstream, "proxy_on_upstream_data", data, end)
	if end && !c.closed {
		c.in.callback(ctx, c.scope, "proxy_on_upstream_connection_close", uint64(c.scope.id), uint64(CloseUnknown))
		c.in.settle()
		r = c.result(r.Action)
	}
	return r
}

func (c *Connection) flowed(ctx context.Context, f *flow, callback string, data []byte, end bool) ConnectionResult {
	if c.closed {
		return c.result(Pause)
	}
	f.data, f.open = append(f.data, data...), true
	action := c.consult(ctx, callback, uint64(len(f.data)), uint64(binaryAnswer(end)))
	if action == Continue && !c.closed {
		f.pass()
	}
	return c.result(action)
}

// consult asks the guest, or closes for one that has failed.
func (c *Connection) consult(ctx context.Context, callback string, arguments ...uint64) Action {
	if c.unfiltered {
		return Continue
	}
	var action uint64
	if c.in.failure == nil {
		action, _ = c.in.callback(ctx, c.scope, callback, append([]uint64{uint64(c.scope.id)}, arguments...)...)
	}
	if c.in.failure != nil {
		c.Close(ctx, CloseLocal)
		action = uint64(Pause)
	}
	c.in.settle()
	if action != 0 {
		return Pause
	}
	return Continue
}

func (c *Connection) result(action Action) ConnectionResult {
	if c.closed {
		action = Pause
	}
	return ConnectionResult{Action: action, Closed: c.closed}
}

// Close ends the connection: proxy_on_downstream_connection_close, then
// proxy_on_done, proxy_on_log and proxy_on_delete, in this order. A second
// Close does nothing.
func (c *Connection) Close(ctx context.Context, reason CloseReason) {
	if c.closed {
		return
	}
	c.closed = true
	id := uint64(c.scope.id)
	if c.scope.created {
		c.in.callback(ctx, c.scope, "proxy_on_downstream_connection_close", id, uint64(reason))
		c.in.settle()
		for _, name := range []string{"proxy_on_done", "proxy_on_log", "proxy_on_delete"} {
			c.in.callback(ctx, c.scope, name, id)
			c.in.settle()
		}
	}
	delete(c.in.scopes, c.scope.id)
	c.plugin.release(ctx)
}

// closeFor closes because the guest asked for it.
func (c *Connection) closeFor(ctx context.Context, end uint32) {
	if c.closed {
		return
	}
	c.closings = append(c.closings, End(end))
	c.Close(ctx, CloseLocal)
}

// Closed reports whether the connection is over.
func (c *Connection) Closed() bool { return c.closed }

// ClosedByGuest returns the ends that the guest closed, in order.
func (c *Connection) ClosedByGuest() []End { return append([]End{}, c.closings...) }

// ToUpstream returns the client's bytes that have gone on.
func (c *Connection) ToUpstream() []byte { return c.downstream.sent }

// ToDownstream returns the upstream's bytes that have gone on.
func (c *Connection) ToDownstream() []byte { return c.upstream.sent }
