package sidecar

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// limited holds a number of connections at a time. One too many ends the oldest of
// whoever has the most, so that a stranger cannot keep a kubelet out; if that is
// the newcomer's own address, it ends the newcomer.
type limited struct {
	net.Listener
	most int

	mu   sync.Mutex
	held map[netip.Addr][]*heldConn // the oldest first
	n    int
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		h := &heldConn{Conn: c, by: l}
		if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			h.from = a.AddrPort().Addr().Unmap()
		}
		if evicted := l.admit(h); evicted != nil {
			_ = evicted.Close()
			if evicted == h {
				continue
			}
		}
		return h, nil
	}
}

// admit takes a connection in, and returns the one that has to go for it, if any.
func (l *limited) admit(h *heldConn) (goes *heldConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[netip.Addr][]*heldConn{}
	}
	if l.n >= l.most {
		greedy := h.from
		for from, all := range l.held {
			if len(all) > len(l.held[greedy]) {
				greedy = from
			}
		}
		if greedy == h.from {
			return h
		}
		goes = l.held[greedy][0]
		l.forget(goes)
	}
	l.held[h.from] = append(l.held[h.from], h)
	l.n++
	return goes
}

// forget needs the lock; it may be called again.
func (l *limited) forget(h *heldConn) {
	all := l.held[h.from]
	i := slices.Index(all, h)
	if i < 0 {
		return
	}
	l.n--
	if all = slices.Delete(all, i, i+1); len(all) == 0 {
		delete(l.held, h.from)
		return
	}
	l.held[h.from] = all
}

type heldConn struct {
	net.Conn
	by   *limited
	from netip.Addr
}

func (h *heldConn) Close() error {
	h.by.mu.Lock()
	h.by.forget(h)
	h.by.mu.Unlock()
	return h.Conn.Close()
}
