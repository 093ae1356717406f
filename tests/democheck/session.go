package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// session is one HTTP/2 connection of a stubborn client: told to go away, it
// stays and asks on. Only the other side can end it.
type session struct {
	conn    *tls.Conn
	framer  *http2.Framer
	resumed bool

	mu    sync.Mutex // orders writes
	next  uint32     // the next request's stream
	codes chan int
	ended chan struct{} // closed when the other side ended the connection
	// endedAt and cause are readable once ended is closed.
	endedAt time.Time
	cause   error
}

// open connects and does the handshake of TLS. One that the server refuses may
// only show at the first request: in TLS 1.3 the client is done first.
func (m *member) open(ctx context.Context) (*session, error) {
	raw, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "tcp", m.to.String())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, m.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	s := &session{
		conn: conn, framer: http2.NewFramer(conn, conn), resumed: conn.ConnectionState().DidResume,
		next: 1, codes: make(chan int, 16), ended: make(chan struct{}),
	}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		raw.Close()
		return nil, err
	}
	if err := s.framer.WriteSettings(); err != nil {
		raw.Close()
		return nil, err
	}
	go s.read()
	return s, nil
}

func (s *session) close() { s.conn.Close() }

// read takes frames until there are no more.
func (s *session) read() {
	defer close(s.ended)
	for {
		frame, err := s.framer.ReadFrame()
		if err != nil {
			s.endedAt, s.cause = time.Now(), err
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				s.write(s.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				s.write(func() error { return s.framer.WritePing(true, f.Data) })
			}
		case *http2.MetaHeadersFrame:
			code, _ := strconv.Atoi(f.PseudoValue("status")) // 0 is no verdict, and told so
			select {
			case s.codes <- code:
			default:
			}
		}
	}
}

// write fails only on a connection whose end read will see as well.
func (s *session) write(frame func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return frame()
}

// briefPath is what a client with a brief leaf asks for: the buyer may have it,
// and nobody else asks for it. Others count meanwhile, and leave it out.
const briefPath = "/preview/brief"

// get asks for briefPath, and returns the code of the answer.
func (s *session) get(ctx context.Context) (int, error) {
	var block bytes.Buffer
	// Sensitive fields never enter the table that both sides keep, so that each
	// request can have an encoder of its own.
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "bookstore"}, {":path", briefPath}, {"x-early-reader", "yes"}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}); err != nil {
			return 0, err
		}
	}
	err := s.write(func() error {
		stream := s.next
		s.next += 2
		return s.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
		})
	})
	if err != nil {
		return 0, err
	}
	select {
	case code := <-s.codes:
		return code, nil
	case <-s.ended:
		return 0, fmt.Errorf("the other side ended the connection: %w", s.cause)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(answerTimeout):
		return 0, errors.New("no answer")
	}
}
