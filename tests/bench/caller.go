package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// callTimeout bounds everything that is waited for on a connection.
const callTimeout = 30 * time.Second

// caller is one connection with one request at a time.
type caller interface {
	// call sends a request and waits for the end of its answer. It returns the
	// status and the size of the body in bytes.
	call(method, path string) (status, size int, err error)
	connection() net.Conn
	close()
}

// secureCaller is one HTTP/2 connection in mutual TLS with one request at a time. It does no more
// than the protocol needs: a general client costs as much as the Envoy that is
// measured, which would then wait for its load.
type secureCaller struct {
	conn   *tls.Conn
	out    *bufio.Writer
	framer *http2.Framer
	fields *hpack.Encoder
	block  bytes.Buffer
	next   uint32 // stream id
}

func dial(ctx context.Context, address string, config *tls.Config) (*secureCaller, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: callTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &secureCaller{conn: conn.(*tls.Conn), out: bufio.NewWriter(conn), next: 1}
	c.framer = http2.NewFramer(c.out, bufio.NewReader(conn))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // the default table of HTTP/2
	c.framer.SetReuseFrames()
	c.fields = hpack.NewEncoder(&c.block)
	if err := c.open(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// open sends the preface, with windows that never have to be opened again: the
// server never waits for this side.
func (c *secureCaller) open() error {
	const widest = math.MaxInt32
	if _, err := io.WriteString(c.out, http2.ClientPreface); err != nil {
		return err
	}
	err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: widest},
	)
	if err != nil {
		return err
	}
	const initial = 1<<16 - 1 // of every connection
	if err := c.framer.WriteWindowUpdate(0, widest-initial); err != nil {
		return err
	}
	return c.out.Flush()
}

func (c *secureCaller) close() { c.conn.Close() }

func (c *secureCaller) connection() net.Conn { return c.conn }

func (c *secureCaller) call(method, path string) (status, size int, err error) {
	c.block.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: workload.Name},
		{Name: ":path", Value: path},
		{Name: "user-agent", Value: "wasmesh-bench"},
		{Name: "accept", Value: "*/*"},
		{Name: "accept-encoding", Value: "gzip"},
	} {
		if err := c.fields.WriteField(f); err != nil {
			return 0, 0, err
		}
	}
	id := c.next
	c.next += 2
	err = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true,
	})
	if err != nil {
		return 0, 0, err
	}
	if err := c.out.Flush(); err != nil {
		return 0, 0, err
	}
	return c.answer(id)
}

func (c *secureCaller) answer(id uint32) (status, size int, err error) {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return 0, 0, err
		}
		ended := false
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status, err = strconv.Atoi(f.PseudoValue("status")); err != nil {
				return 0, 0, fmt.Errorf("the status of an answer: %w", err)
			}
			ended = f.StreamEnded()
		case *http2.DataFrame:
			size += len(f.Data())
			ended = f.StreamEnded()
		case *http2.SettingsFrame:
			err = c.acknowledge(f)
		case *http2.RSTStreamFrame:
			err = fmt.Errorf("envoy reset the stream: %v", f.ErrCode)
		case *http2.GoAwayFrame:
			err = fmt.Errorf("envoy closes the connection: %v", f.ErrCode)
		case *http2.PingFrame:
			err = errors.New("envoy pings, which it is not configured to")
		}
		if err != nil {
			return 0, 0, err
		}
		if ended && frame.Header().StreamID == id {
			return status, size, nil
		}
	}
}

func (c *secureCaller) acknowledge(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if err := c.framer.WriteSettingsAck(); err != nil {
		return err
	}
	return c.out.Flush()
}
