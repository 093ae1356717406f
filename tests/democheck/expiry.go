package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/http2"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

const (
	// briefLife is that of the leaf; the authority counts in whole seconds, so up
	// to one of them is over already.
	briefLife = 5 * time.Second
	// endLimit is how long after the end of a leaf its connections may live.
	endLimit = 5 * time.Second
	beat     = 100 * time.Millisecond
)

// member is an HTTP/2 client that talks to a sidecar as another sidecar would.
type member struct {
	to      netip.AddrPort
	config  *tls.Config
	tickets *ticketCounter
	expires time.Time
}

// session is one of its connections.
type session struct {
	conn    *watchedConn
	client  *http2.ClientConn
	resumed bool
}

// watchedConn notes when reading first failed: when the other side ended it.
type watchedConn struct {
	net.Conn
	ended chan time.Time
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		select {
		case c.ended <- time.Now():
		default:
		}
	}
	return n, err
}

func (m *member) open(ctx context.Context) (*session, error) {
	raw, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "tcp", m.to.String())
	if err != nil {
		return nil, err
	}
	conn := &watchedConn{raw, make(chan time.Time, 1)}
	secure := tls.Client(conn, m.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	client, err := new(http2.Transport).NewClientConn(secure)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &session{conn, client, secure.ConnectionState().DidResume}, nil
}

// get asks for what the buyer may have.
func (s *session) get(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bookstore/books-bought", nil)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// expiry is line 7, second half: a client whose leaf has ended has no more to
// say, on the connection it has open and on any other.
func (c *check) expiry(ctx context.Context) error {
	m, err := c.briefMember()
	if err != nil {
		return err
	}
	s, err := m.open(ctx)
	if err != nil {
		return fmt.Errorf("a member with a good leaf cannot connect to bookstore-v1: %w", err)
	}
	defer s.conn.Close()
	first, err := s.get(ctx)
	if err != nil {
		return err
	}
	again, err := m.again(ctx)
	if err != nil {
		return err
	}
	life := s.watch(ctx, m.expires)
	late, answered := m.knock(ctx)
	c.line("7", "a leaf that ended: the open connection is ended", errors.Join(goodBefore(first), life.judge()),
		"first %d, %d x 200 until the end; closed %d ms after it, %d x 403 and %d x 200 in between",
		first, life.good, life.closed.Milliseconds(), life.refused, life.late)
	var failure error
	if answered > 0 || late == 0 {
		failure = fmt.Errorf("%d of %d connections after the end were answered", answered, late)
	}
	c.line("7", "a leaf that ended: no new connection is answered", failure, "%d tried, %d answered", late, answered)
	failure = nil
	if puts := m.tickets.puts.Load(); puts > 0 || again.resumed || s.resumed {
		failure = fmt.Errorf("%d session tickets were issued, resumed: %t", puts, again.resumed)
	}
	c.line("7", "no TLS session can be resumed", failure, "%d tickets, second connection resumed: %t", m.tickets.puts.Load(), again.resumed)
	return nil
}

func goodBefore(code int) error {
	if code != http.StatusOK {
		return fmt.Errorf("the first answer was %d: the line proves nothing", code)
	}
	return nil
}

// briefMember is the buyer's identity with a short life, straight at the sidecar
// of bookstore-v1.
func (c *check) briefMember() (*member, error) {
	store, ok := c.mesh.Snapshot.Workload(mesh.Name{Namespace: "bookstore", Name: demo.StoreOne})
	if !ok || len(store.Ports) == 0 {
		return nil, errors.New("there is no bookstore-v1")
	}
	leaf, roots, err := issue(c.mesh.State, mesh.Name{Namespace: demo.Buyer, Name: demo.Buyer},
		mesh.Name{Namespace: demo.Buyer, Name: "brief"}, briefLife)
	if err != nil {
		return nil, err
	}
	tickets := &ticketCounter{}
	return &member{
		to:      netip.AddrPortFrom(store.Address, store.Ports[0].Port),
		config:  clientTLS(leaf, roots, mesh.SPIFFEID(demo.TrustDomain, store.ServiceAccount), tickets),
		tickets: tickets,
		expires: leaf.Leaf.NotAfter,
	}, nil
}

// again opens a second connection, as a client that could resume would, and
// uses it once.
func (m *member) again(ctx context.Context) (*session, error) {
	s, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.conn.Close()
	code, err := s.get(ctx)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the second connection of a good leaf got %d", code)
	}
	return s, err
}

// life is what a connection saw around the end of its leaf.
type life struct {
	good, late, refused int
	other               []int
	// closed is how long after the end of the leaf the connection was ended;
	// negative if it never was.
	closed time.Duration
}

// watch makes requests until the connection is ended, or should long have been.
func (s *session) watch(ctx context.Context, expires time.Time) life {
	l := life{closed: -1}
	for time.Now().Before(expires.Add(endLimit + time.Second)) {
		select {
		case at := <-s.conn.ended:
			l.closed = at.Sub(expires)
			return l
		case <-time.After(beat):
		}
		code, err := s.get(ctx)
		switch after := time.Now().After(expires); {
		case err != nil:
		case code == http.StatusOK && !after:
			l.good++
		case code == http.StatusOK:
			l.late++
		case code == http.StatusForbidden && after:
			l.refused++
		default:
			l.other = append(l.other, code)
		}
	}
	return l
}

func (l life) judge() error {
	switch {
	case l.closed < 0:
		return fmt.Errorf("the connection was not ended within %v of the end of its leaf", endLimit)
	case l.closed > endLimit:
		return fmt.Errorf("the connection was ended %v after the end of its leaf, later than %v", l.closed, endLimit)
	case l.good == 0 || len(l.other) > 0:
		return fmt.Errorf("%d x 200 before the end, and also %v", l.good, l.other)
	}
	return nil
}

// knock tries new connections now that the leaf has ended. One that gets as far
// as an answer, whatever it is, counts.
func (m *member) knock(ctx context.Context) (tried, answered int) {
	for ; tried < 3; tried++ {
		s, err := m.open(ctx)
		if err != nil {
			continue
		}
		if _, err := s.get(ctx); err == nil {
			answered++
		}
		s.conn.Close()
	}
	return tried, answered
}
