package connections

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	// banner is what a server-first application says to whoever connects.
	banner = "220 at your service\r\n"
	// bulk is how much goes each way where content is compared, in bytes.
	bulk = 1 << 20
)

// content is bytes that do not repeat; the same for the same seed.
func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	var key [32]byte
	key[0] = byte(seed)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// port is what one application's port has seen.
type port struct {
	connections, received atomic.Int64
	open                  atomic.Int64
}

// applications are those of all servers, by listening address.
type applications struct {
	mu    sync.Mutex
	ports map[string]*port
	web   *web
	leaf  tls.Certificate
}

func startApplications(t *testing.T) *applications {
	t.Helper()
	a := &applications{ports: map[string]*port{}, leaf: selfSigned(t)}
	for _, at := range []string{"127.141.0.3:7001", "127.141.0.4:7101", "[::1]:7201"} {
		a.serve(t, at, echo)
	}
	for _, at := range []string{"127.141.0.3:7002", "127.141.0.4:7102", "[::1]:7202"} {
		a.serve(t, at, greet)
	}
	a.serve(t, "127.141.0.3:7003", func(c net.Conn) { echo(tls.Server(c, a.tls())) })
	a.startWeb(t)
	return a
}

func (a *applications) tls() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.leaf}, MinVersion: tls.VersionTLS12}
}

// serve has an application answer each connection; it counts what arrives.
func (a *applications) serve(t *testing.T, at string, answer func(net.Conn)) {
	t.Helper()
	l := a.listen(t, at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
}

// listen opens a port that counts.
func (a *applications) listen(t *testing.T, at string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a server may have closed it already
	return counting{l, a.at(at)}
}

// at returns the counts of the application port at an address.
func (a *applications) at(address string) *port {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ports[address] == nil {
		a.ports[address] = &port{}
	}
	return a.ports[address]
}

type counting struct {
	net.Listener
	port *port
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.port.connections.Add(1)
	l.port.open.Add(1)
	return &counted{TCPConn: c.(*net.TCPConn), port: l.port}, nil
}

type counted struct {
	*net.TCPConn
	port *port
	once sync.Once
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.port.received.Add(int64(n))
	return n, err
}

// WriteTo hides the one that would not count.
func (c *counted) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

func (c *counted) Close() error {
	c.once.Do(func() { c.port.open.Add(-1) })
	return c.TCPConn.Close()
}

// echo sends back what it gets. When the caller has closed its side it says more,
// so that a connection that is not kept half open shows.
func echo(c net.Conn) {
	if _, err := io.Copy(c, struct{ io.Reader }{c}); err == nil {
		_, _ = io.Copy(c, bytes.NewReader(content(2, bulk))) // the caller counts
	}
}

// greet speaks first, then echoes.
func greet(c net.Conn) {
	if _, err := io.WriteString(c, banner); err == nil {
		echo(c)
	}
}
