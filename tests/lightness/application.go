package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
)

// answer is all the application says.
const answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nbooks"

// startApplication serves the sidecar until the listener is closed. It does no
// more than the protocol needs: a general server would take the time that the
// measured Envoy needs.
func startApplication(ctx context.Context) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("%s:%d", applicationAddress, port))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return l, nil
}

// serve answers requests without a body until the connection ends.
func serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) > 2 {
			continue // inside a request
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}
