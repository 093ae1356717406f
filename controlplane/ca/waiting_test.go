package ca

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// Connections that say nothing, or stop in the middle, take the place of each
// other, and not of who has something to say.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	a, _ := open(t)
	base, log := serve(t, a, known)
	address := strings.TrimPrefix(base, "https://")
	silent := make([]net.Conn, 3*maxWaiting)
	for i := range silent {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if silent[i] = conn; i < maxWaiting && i%64 == 0 { // a handshake, half a request, and then nothing
			half := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
			if err := half.Handshake(); err != nil {
				t.Fatal(err)
			}
			if _, err := half.Write([]byte("POST /v1/join HTTP/1.1\r\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), headerTimeout)
	defer cancel()
	if _, err := at(base).Join(ctx, token(t, a), csr(t)); err != nil {
		t.Fatalf("beside %d silent connections: %v", len(silent), err)
	}
	if took := time.Since(began); took > headerTimeout/2 {
		t.Errorf("joining took %v", took)
	}
	// The oldest have been closed to make room, the newest are still there.
	for i, want := range map[int]bool{1: true, len(silent) - 1: false} {
		_ = silent[i].SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := silent[i].Read(make([]byte, 1))
		if timeout, ok := err.(net.Error); (err != nil && !(ok && timeout.Timeout())) != want {
			t.Errorf("connection %d of %d: %v", i, len(silent), err)
		}
	}
	if n := strings.Count(log.String(), "a connection failed"); n == 0 || n > 20 {
		t.Errorf("%d lines tell of them", n)
	}
}
