package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	callTimeout = 30 * time.Second
	// window is never used up: answers are a few bytes each.
	window = math.MaxInt32
	// defaultWindow is that of every HTTP/2 connection.
	defaultWindow = 1<<16 - 1
)

// caller is one HTTP/2 connection that sends requests in batches, all of a batch
// at once: so that Envoy, and nothing else, is what is busy.
type caller struct {
	conn   net.Conn
	out    *bufio.Writer
	framer *http2.Framer
	fields *hpack.Encoder
	block  bytes.Buffer
	next   uint32
	// want has the status that each open stream must be answered with; empty for
	// any, and last has what it was.
	want map[uint32]string
	last string
}

func dial(ctx context.Context, config *tls.Config) (*caller, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: callTimeout}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", storeAddress, port))
	if err != nil {
		return nil, err
	}
	c := &caller{conn: conn, out: bufio.NewWriter(conn), next: 1, want: map[uint32]string{}}
	c.framer = http2.NewFramer(c.out, bufio.NewReader(conn))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // the default table of HTTP/2
	c.framer.SetReuseFrames()
	c.fields = hpack.NewEncoder(&c.block)
	if _, err = io.WriteString(c.out, http2.ClientPreface); err == nil {
		err = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	}
	if err == nil {
		err = c.framer.WriteWindowUpdate(0, window-defaultWindow)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *caller) close() { c.conn.Close() }

// batch sends n requests, of which every tenth asks for what is not granted, and
// waits for all answers. Another answer than the policy's is an error.
func (c *caller) batch(n int) error {
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	for i := range n {
		path, status := grantedPath, "200"
		if i%10 == 9 {
			path, status = deniedPath, "403"
		}
		if err := c.send(path, status); err != nil {
			return err
		}
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	for len(c.want) > 0 {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// send writes one request; an empty status is any.
func (c *caller) send(path, status string, more ...hpack.HeaderField) error {
	c.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: workload.Name}, {Name: ":path", Value: path},
		{Name: "user-agent", Value: "lightness"}, {Name: "accept", Value: "*/*"},
	}, more...) {
		if err := c.fields.WriteField(f); err != nil {
			return err
		}
	}
	c.want[c.next] = status
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.next, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true,
	})
	c.next += 2
	return err
}

// read takes one frame.
func (c *caller) read() error {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	id := frame.Header().StreamID
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		c.last = f.PseudoValue("status")
		if want := c.want[id]; want != "" && c.last != want {
			return fmt.Errorf("answered %s instead of %s", c.last, want)
		}
		if f.StreamEnded() {
			delete(c.want, id)
		}
	case *http2.DataFrame:
		if f.StreamEnded() {
			delete(c.want, id)
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			err = c.framer.WriteSettingsAck()
		}
	case *http2.RSTStreamFrame:
		err = fmt.Errorf("envoy reset a stream: %v", f.ErrCode)
	case *http2.GoAwayFrame:
		err = fmt.Errorf("envoy closes the connection: %v", f.ErrCode)
	}
	return err
}
