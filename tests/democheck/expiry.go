package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

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
	// briefName is the client's, as a workload of the buyer's namespace.
	briefName = "brief"
)

// member is an HTTP/2 client that talks to a sidecar as another sidecar would.
type member struct {
	to      netip.AddrPort
	config  *tls.Config
	tickets *ticketCounter
	expires time.Time
}

// expired is what a client saw whose leaf ended.
type expired struct {
	first   int // code of its first answer
	resumed bool
	tickets int
	life    life
	// tried and answered are connections after the end.
	tried, answered int
	err             error
}

// beginExpiry starts a client with a brief leaf. It needs the policy to be in
// force for the time that the leaf lives, and a moment longer; what it saw is
// told by expiry.
func (c *check) beginExpiry(ctx context.Context) error {
	m, err := c.briefMember()
	if err != nil {
		return err
	}
	c.expired = make(chan expired, 1)
	go func() { c.expired <- m.live(ctx) }()
	return nil
}

// live uses a connection until it is ended, and then tries for new ones.
func (m *member) live(ctx context.Context) (e expired) {
	s, err := m.open(ctx)
	if err != nil {
		e.err = fmt.Errorf("a member with a good leaf cannot connect to bookstore-v1: %w", err)
		return e
	}
	defer s.close()
	if e.first, e.err = s.get(ctx); e.err != nil {
		return e
	}
	again, err := m.again(ctx)
	if err != nil {
		e.err = err
		return e
	}
	e.resumed = s.resumed || again.resumed
	e.life = s.watch(ctx, m.expires)
	e.tried, e.answered = m.knock(ctx)
	e.tickets = int(m.tickets.puts.Load())
	return e
}

// expiry is line 7, second half: a client whose leaf has ended has no more to
// say, on the connection it has open and on any other.
func (c *check) expiry(context.Context) error {
	e := <-c.expired
	if e.err != nil {
		return e.err
	}
	l := e.life
	c.line("7", "a leaf that ended: the open connection is ended", errors.Join(goodBefore(e.first), l.judge()),
		"first %d, %d x 200 until the end; %s, %d x 403 and %d x 200 in between",
		e.first, l.good, l.end(), l.refused, l.late)
	var failure error
	if e.answered > 0 || e.tried == 0 {
		failure = fmt.Errorf("%d of %d connections after the end were answered", e.answered, e.tried)
	}
	c.line("7", "a leaf that ended: no new connection is answered", failure, "%d tried, %d answered", e.tried, e.answered)
	failure = nil
	if e.tickets > 0 || e.resumed {
		failure = fmt.Errorf("%d session tickets were issued, resumed: %t", e.tickets, e.resumed)
	}
	c.line("7", "no TLS session can be resumed", failure, "%d tickets, resumed: %t", e.tickets, e.resumed)
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
		mesh.Name{Namespace: demo.Buyer, Name: briefName}, briefLife)
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
	defer s.close()
	code, err := s.get(ctx)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("the second connection of a good leaf got %d", code)
	}
	return s, err
}

// life is what a connection saw around the end of its leaf.
type life struct {
	good, late, refused int
	other               []int // further codes; 0 for no answer
	// closed is how long after the end of the leaf the connection was ended;
	// negative if it never was.
	closed time.Duration
}

// watch makes requests until the connection is ended, or should long have been.
func (s *session) watch(ctx context.Context, expires time.Time) life {
	l := life{closed: -1}
	for time.Now().Before(expires.Add(endLimit + time.Second)) {
		select {
		case <-s.ended:
			l.closed = s.endedAt.Sub(expires)
			return l
		case <-time.After(beat):
		}
		code, err := s.get(ctx)
		switch after := time.Now().After(expires); {
		case err != nil && s.hasEnded():
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

func (s *session) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (l life) end() string {
	if l.closed < 0 {
		return "never closed"
	}
	return fmt.Sprintf("closed %d ms after it", l.closed.Milliseconds())
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
		s.close()
	}
	return tried, answered
}
