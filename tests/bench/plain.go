package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// plainCaller is one HTTP/1 connection without TLS.
type plainCaller struct {
	conn      net.Conn
	in        *bufio.Reader
	principal string
	// request is the last one, which is mostly the next one.
	request, method, path string
}

// dialPlain calls from an address, which is who calls.
func dialPlain(ctx context.Context, to, from string) (*plainCaller, error) {
	local, err := netip.ParseAddr(from)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: callTimeout, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	id := mesh.SPIFFEID(trustDomain, mesh.Name{Namespace: namespace, Name: from})
	return &plainCaller{conn: conn, in: bufio.NewReader(conn), principal: id}, nil
}

func (c *plainCaller) close() { c.conn.Close() }

func (c *plainCaller) connection() net.Conn { return c.conn }

func (c *plainCaller) call(method, path string) (status, size int, err error) {
	if method != c.method || path != c.path {
		c.method, c.path = method, path
		c.request = method + " " + path + " HTTP/1.1\r\nhost: " + workload.Name +
			"\r\nuser-agent: wasmesh-bench\r\naccept: */*\r\naccept-encoding: gzip\r\n" +
			principalHeader + ": " + c.principal + "\r\n\r\n"
	}
	if _, err := io.WriteString(c.conn, c.request); err != nil {
		return 0, 0, err
	}
	return c.answer()
}

func (c *plainCaller) answer() (status, size int, err error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
		return 0, 0, fmt.Errorf("the status of an answer: %w", err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return 0, 0, err
		}
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			break
		}
		if name == "content-length" {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, 0, fmt.Errorf("the size of an answer: %w", err)
			}
		}
	}
	_, err = c.in.Discard(size)
	return status, size, err
}
