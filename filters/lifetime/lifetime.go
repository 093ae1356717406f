// Package lifetime is the stage that ends a connection when the certificate
// that opened it ends: mutual TLS checks a certificate only at the handshake.
//
// It is a network filter in front of HTTP. It never looks at the bytes.
package lifetime

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// Connections are those open in this worker.
type Connections struct {
	open    map[uint32]*Connection
	expired guest.Counter
}

// Connection is one of them. Its end is read at the first tick after the
// handshake, as there is no certificate before.
type Connection struct {
	types.DefaultTcpContext
	of      *Connections
	id      uint32
	expires int64
}

// New returns an empty set.
func New() *Connections {
	return &Connections{
		open:    map[uint32]*Connection{},
		expired: guest.DefineCounter(traffic.Expired),
	}
}

// Open adds a connection; id is its context.
func (c *Connections) Open(id uint32) *Connection {
	conn := &Connection{of: c, id: id}
	c.open[id] = conn
	return conn
}

// OnStreamDone forgets the connection.
func (c *Connection) OnStreamDone() { delete(c.of.open, c.id) }

// End closes every connection whose certificate ended at or before now, in
// seconds since 1970.
func (c *Connections) End(now int64) {
	for id, conn := range c.open {
		if proxywasm.SetEffectiveContext(id) != nil {
			delete(c.open, id)
			continue
		}
		if conn.expires == 0 {
			facts, _ := guest.ReadConnection()
			conn.expires = facts.Expires
		}
		if conn.expires != 0 && conn.expires <= now {
			c.close(id)
		}
	}
}

func (c *Connections) close(id uint32) {
	if err := proxywasm.CloseDownstream(); err != nil {
		proxywasm.LogError("lifetime: an expired connection could not be closed: " + err.Error())
		return
	}
	c.expired.Increment()
	delete(c.open, id)
}
