package scenarios

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// errShut is the end of a connection on which nothing was answered.
var errShut = errors.New("the connection ended without an answer")

// over says what becomes of a request, or of a connection, on an open
// connection. Its error is errShut where not a byte came back.
func over(conn net.Conn, c call, id string) (outcome, error) {
	var status int
	var err error
	switch c.wire {
	case tcp:
		return converse(conn, id, greets(c.port))
	case http2:
		status, err = sendHTTP2(conn, c.request, id)
	default:
		status, err = sendHTTP1(conn, c.request, id)
	}
	switch {
	case err != nil:
		return "", err
	case status == http.StatusOK:
		return allow, nil
	case status == http.StatusForbidden:
		return deny, nil
	case status == http.StatusBadRequest:
		return reject, nil
	}
	return "", fmt.Errorf("the answer is %d", status)
}

// ended says errShut for what a closed connection looks like. An alert of TLS, which
// may come first, is less than a frame of HTTP/2.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %w", errShut, err)
	}
	return fmt.Errorf("no answer: %w", err)
}

// alert begins the record in which TLS says that it will not go on: the sidecar's
// word, not the application's.
const alert = "\x15\x03"

// converse says a line and waits for its echo; where the application speaks
// first, it waits for that before.
func converse(conn net.Conn, id string, greeted bool) (outcome, error) {
	in := bufio.NewReader(conn)
	expect := func(want string) error {
		line, err := in.ReadString('\n')
		switch {
		case err != nil && strings.HasPrefix(line, alert):
			return ended(err)
		case err != nil && line != "":
			return fmt.Errorf("%q came before the end: %w", line, err)
		case err != nil:
			return ended(err)
		case line != want:
			return fmt.Errorf("the application said %q, want %q", line, want)
		}
		return nil
	}
	if greeted {
		if err := expect(greeting); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, id+"\n"); err != nil {
		return "", ended(err)
	}
	if err := expect(id + "\n"); err != nil {
		if greeted {
			return "", fmt.Errorf("the application greeted, and then: %w", errors.New(err.Error()))
		}
		return "", err
	}
	return allow, nil
}

// sendHTTP1 writes a request as it stands and returns the status of the answer.
func sendHTTP1(conn net.Conn, r request, id string) (int, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", r.method, r.target, r.host(), idHeader, id)
	for _, h := range r.others() {
		fmt.Fprintf(&text, "%s: %s\r\n", h.Name, h.Value)
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		return 0, ended(err)
	}
	in := bufio.NewReader(conn)
	if _, err := in.Peek(1); err != nil {
		return 0, ended(err)
	}
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: r.method})
		if err != nil {
			return 0, fmt.Errorf("no answer: %w", err)
		}
		// 100 Continue is not the last word.
		body, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode >= 500 {
			err = fmt.Errorf("the answer is %d: %s", response.StatusCode, body)
		}
		if err != nil || response.StatusCode >= 200 {
			return statusIn(response.StatusCode, response.Header.Get("grpc-status")), err
		}
	}
}

// statusIn reads a gRPC status as the HTTP status that it stands for: in gRPC an
// answer is 200 even where it is a refusal.
func statusIn(http int, grpc string) int {
	switch {
	case http == 200 && grpc == "7":
		return 403
	case http == 200 && grpc == "13":
		return 400
	}
	return http
}

// sendHTTP2 does the same in HTTP/2, in which names have lower case and values
// no blanks around them.
func sendHTTP2(conn net.Conn, r request, id string) (int, error) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{{Name: idHeader, Value: id}}
	for _, h := range headerLines(r) {
		fields = append(fields, hpack.HeaderField{Name: h.Name, Value: strings.Trim(h.Value, " \t")})
	}
	// Pseudo headers come first.
	for _, f := range append(fields[1:], fields[0]) {
		if err := encoder.WriteField(f); err != nil {
			return 0, err
		}
	}
	framer := xhttp2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, xhttp2.ClientPreface); err != nil {
		return 0, ended(err)
	}
	err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(xhttp2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	}))
	if err != nil {
		return 0, ended(err)
	}
	return readHTTP2(framer)
}

// readHTTP2 reads to the end of the stream; a reset is no answer.
func readHTTP2(framer *xhttp2.Framer) (int, error) {
	fields := map[string]string{}
	heard := false
	for {
		frame, err := framer.ReadFrame()
		switch {
		case err != nil && !heard:
			return 0, ended(err)
		case err != nil:
			return 0, fmt.Errorf("no answer: %w", err)
		}
		heard = true
		switch f := frame.(type) {
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *xhttp2.RSTStreamFrame:
			err = fmt.Errorf("the stream was reset: %v", f.ErrCode)
		case *xhttp2.GoAwayFrame:
			// A listener that drains says so to all, and answers what it has taken.
			if f.ErrCode != xhttp2.ErrCodeNo || f.LastStreamID < 1 {
				err = fmt.Errorf("the connection was given up: %v %s", f.ErrCode, f.DebugData())
			}
		case *xhttp2.MetaHeadersFrame:
			for _, field := range f.Fields {
				fields[field.Name] = field.Value
			}
		}
		if err != nil {
			return 0, err
		}
		header := frame.Header()
		carries := header.Type == xhttp2.FrameHeaders || header.Type == xhttp2.FrameData
		if carries && header.StreamID == 1 && header.Flags.Has(xhttp2.FlagDataEndStream) {
			status, err := strconv.Atoi(fields[":status"])
			return statusIn(status, fields["grpc-status"]), err
		}
	}
}
