package normalize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client sends requests as sidecars do among each other: in HTTP/2 a
// :path is a length and bytes, so that more of them can be sent.
type http2Client struct {
	address string
	conn    net.Conn
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	stream  uint32
}

func (c *http2Client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *http2Client) dial() error {
	conn, err := net.DialTimeout("tcp", c.address, answerTimeout)
	if err != nil {
		return err
	}
	c.conn, c.stream = conn, 1
	c.framer = http2.NewFramer(conn, conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.encoded)
	// Every target is new: a growing table of them would only have to be kept.
	c.encoder.SetMaxDynamicTableSize(0)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	return c.framer.WriteSettings()
}

func (c *http2Client) get(target string) (answer, error) {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return answer{}, err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return answer{}, err
	}
	c.encoded.Reset()
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "a"}, {Name: ":path", Value: target},
	} {
		if err := c.encoder.WriteField(field); err != nil {
			return answer{}, err
		}
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.stream, BlockFragment: c.encoded.Bytes(), EndStream: true, EndHeaders: true,
	})
	if err != nil {
		return answer{}, fmt.Errorf("writing a request: %w", err)
	}
	return c.read()
}

// read reads frames until the stream, or the connection, has ended.
func (c *http2Client) read() (answer, error) {
	var got answer
	stream := c.stream
	c.stream += 2
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.close()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return answer{}, fmt.Errorf("no answer within %v", answerTimeout)
			}
			return answer{}, nil
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.framer.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			c.close()
			return answer{}, nil
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return answer{}, nil
			}
		case *http2.MetaHeadersFrame:
			err = got.fields(f.Fields)
		case *http2.DataFrame:
			if got.Forwarded {
				got.Target += string(f.Data())
			}
			err = c.consume(stream, len(f.Data()))
		}
		if err != nil {
			c.close()
			return answer{}, fmt.Errorf("reading an answer: %w", err)
		}
		header := frame.Header()
		ends := header.Type == http2.FrameHeaders || header.Type == http2.FrameData
		if ends && header.StreamID == stream && header.Flags.Has(http2.FlagDataEndStream) {
			return got, nil
		}
	}
}

func (c *http2Client) consume(stream uint32, n int) error {
	if n == 0 {
		return nil
	}
	return errors.Join(c.framer.WriteWindowUpdate(0, uint32(n)), c.framer.WriteWindowUpdate(stream, uint32(n)))
}

func (a *answer) fields(fields []hpack.HeaderField) error {
	for _, field := range fields {
		switch field.Name {
		case ":status":
			status, err := strconv.Atoi(field.Value)
			if err != nil {
				return err
			}
			a.Status = status
		case "x-echoed":
			a.Forwarded = true
		}
	}
	return nil
}
