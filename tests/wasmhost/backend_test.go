package wasmhost

import (
	"bufio"
	"io"
	"net"
	"sync"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// answer is what an upstream says to a request, its body in pieces.
type answer struct {
	headers  []wasmtest.Pair
	body     []string
	trailers []wasmtest.Pair
}

func (a answer) head() []wasmtest.Pair {
	if a.body == nil {
		return append(wasmtest.Pairs("content-length", "0"), a.headers...)
	}
	return append(wasmtest.Pairs("transfer-encoding", "chunked"), a.headers...)
}

// backends are the upstreams of the real Envoy. Steps run one after the other,
// so that each sets what the application answers next.
type backends struct {
	ports     backendPorts
	listeners []net.Listener

	mu   sync.Mutex
	next answer
	seen func()
	// got and called are what the application and the auth service received.
	got, called []message
	// streams hands over the connections of TCP clients.
	streams chan net.Conn
}

func startBackends() (*backends, error) {
	b := &backends{streams: make(chan net.Conn, 16)}
	for _, s := range []struct {
		port  *int
		serve func(net.Conn)
	}{
		{&b.ports.app, b.serveApp}, {&b.ports.auth, b.serveAuth}, {&b.ports.dead, nil},
		{&b.ports.bytes, func(c net.Conn) { b.streams <- c }},
	} {
		l, port, err := listen()
		if err != nil {
			b.close()
			return nil, err
		}
		*s.port = port
		if s.serve == nil {
			l.Close()
			continue
		}
		b.listeners = append(b.listeners, l)
		go accept(l, s.serve)
	}
	return b, nil
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

func (b *backends) close() {
	for _, l := range b.listeners {
		l.Close()
	}
}

// expect sets the next answer and forgets what was received.
func (b *backends) expect(a answer, seen func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next, b.seen, b.got, b.called = a, seen, nil, nil
}

func (b *backends) received() (got, called []message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]message{}, b.got...), append([]message{}, b.called...)
}

func (b *backends) serveApp(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		m, err := readMessage(in)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.got = append(b.got, m)
		a, seen := b.next, b.seen
		b.mu.Unlock()
		if writeHead(c, "HTTP/1.1 200 OK", a.head()) != nil {
			return
		}
		if a.body == nil {
			continue
		}
		if writeChunks(c, a.body, a.trailers, seen) != nil {
			return
		}
	}
}

// serveAuth answers as the path says; what is not there it holds for ever.
func (b *backends) serveAuth(c net.Conn) {
	defer c.Close()
	m, err := readMessage(bufio.NewReader(c))
	if err != nil {
		return
	}
	b.mu.Lock()
	b.called = append(b.called, m)
	b.mu.Unlock()
	path := pathOf(m.first)
	a, ok := authAnswers[path]
	switch {
	case path == "/cut":
		return
	case !ok:
		_, _ = io.Copy(io.Discard, c)
		return
	}
	if writeHead(c, "HTTP/1.1 200 OK", append(a.head(), wasmtest.Pair{Name: "connection", Value: "close"})) != nil || a.body == nil {
		return
	}
	_ = writeChunks(c, a.body, a.trailers, func() {})
}

// authAnswers are what the auth service says, by path, on both sides.
var authAnswers = map[string]answer{
	"/yes":   {headers: wasmtest.Pairs("x-kind", "full"), body: []string{"yes"}, trailers: wasmtest.Pairs("t", "1")},
	"/empty": {headers: wasmtest.Pairs("x-kind", "empty")},
}
