package splits

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	connections   = 4
	answerTimeout = 10 * time.Second
)

// text is a request as it goes over the wire.
func (c call) wire(run string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", c.method, c.target, c.host(), runHeader, run)
	for _, h := range c.others() {
		fmt.Fprintf(&text, "%s: %s\r\n", h.Name, h.Value)
	}
	return text.String() + "\r\n"
}

// send sends a request n times over a few connections, from the address at which
// the caller's application dials the service, and counts the statuses.
func send(ctx context.Context, c call, run string, n int) (map[int]int, error) {
	to := netip.AddrPortFrom(c.caller.AddressOf(c.service), c.port)
	statuses := map[int]int{}
	var failure error
	var mu sync.Mutex
	var senders sync.WaitGroup
	for i := range connections {
		part := n / connections
		if i < n%connections {
			part++
		}
		senders.Go(func() {
			err := converse(ctx, to, c, run, part, func(status int) {
				mu.Lock()
				defer mu.Unlock()
				statuses[status]++
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failure = err
			}
		})
	}
	senders.Wait()
	return statuses, failure
}

// converse sends n requests over one connection, one after the other. A proxy
// closes the connection with some refusals; then a new one is opened.
func converse(ctx context.Context, to netip.AddrPort, c call, run string, n int, answered func(status int)) error {
	text := c.wire(run)
	var conn *connection
	defer func() { conn.close() }()
	for range n {
		if conn == nil {
			var err error
			if conn, err = dial(ctx, to); err != nil {
				return err
			}
		}
		status, last, err := conn.ask(text, c.method)
		if err != nil {
			return err
		}
		answered(status)
		if last {
			conn.close()
			conn = nil
		}
	}
	return nil
}

type connection struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, to netip.AddrPort) (*connection, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return &connection{conn, bufio.NewReader(conn)}, nil
}

func (c *connection) close() {
	if c != nil {
		c.conn.Close()
	}
}

// ask returns the status of the answer, and whether it is the connection's last.
func (c *connection) ask(text, method string) (status int, last bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, false, err
	}
	if _, err := io.WriteString(c.conn, text); err != nil {
		return 0, false, err
	}
	response, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return 0, false, fmt.Errorf("no answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, false, err
	}
	return response.StatusCode, response.Close, response.Body.Close()
}
