package capture

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// answerTimeout bounds one call.
const answerTimeout = 4 * time.Second

// application answers with its own name, so that a test knows who was reached.
type application struct {
	name string
	// calls counts requests and connections that reached it.
	calls atomic.Int64
	// from is who asked last.
	from atomic.Value
}

// web answers HTTP at an address of a pod.
func web(t *testing.T, s *space, address string) *application {
	t.Helper()
	a := &application{name: s.name}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.calls.Add(1)
		a.from.Store(r.RemoteAddr)
		fmt.Fprint(w, a.name)
	})}
	l := s.listen(t, address)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return a
}

// greeter is an opaque server that speaks first and then echoes.
func greeter(t *testing.T, s *space, address string) *application {
	t.Helper()
	a := &application{name: s.name}
	l := s.listen(t, address)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			a.calls.Add(1)
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "hello from %s\n", a.name)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return a
}

// get asks over a connection of its own, from a pod or, where from is nil, from
// the node.
func get(ctx context.Context, from *space, to netip.AddrPort, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		if from == nil {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
		return from.dial(ctx, address)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	return response.StatusCode, string(text), err
}

// greeting reads what an opaque server says first, and has it echo a word.
func greeting(ctx context.Context, from *space, to netip.AddrPort) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := from.dial(ctx, to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := io.WriteString(conn, "word"); err != nil {
		return "", err
	}
	buffer := make([]byte, 100)
	n := 0
	for n < len(buffer) && string(buffer[max(0, n-4):n]) != "word" {
		more, err := conn.Read(buffer[n:])
		if n += more; err != nil {
			return string(buffer[:n]), err
		}
	}
	return string(buffer[:n]), nil
}
