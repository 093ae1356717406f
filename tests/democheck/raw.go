package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	answerTimeout = 5 * time.Second
	// silence is how long a connection is watched for answers that should not
	// come, after those that should.
	silence = 200 * time.Millisecond
)

// reply is one answer to raw bytes.
type reply struct {
	code int
	body string
	// length is what the answer says of its body; a HEAD has only that.
	length int64
}

// denial is the body of the filter's own denials.
const denial = "access denied\n"

// fromFilter reports whether the answer is the filter's denial at the
// destination, by its words or, for a HEAD, by their number.
func (r reply) fromFilter() bool {
	return r.body == denial || r.body == "" && r.length == int64(len(denial))
}

// fromApplication reports whether one of the bookstore's applications answered:
// they all say who they are.
func (r reply) fromApplication() bool { return strings.HasPrefix(r.body, `{"from":`) }

// send opens a connection, sends bytes as they are, and returns every answer
// that comes before the connection ends or falls silent.
func send(to netip.AddrPort, raw string) ([]reply, error) {
	c, err := net.DialTimeout("tcp", to.String(), answerTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(raw, " ")
	var out []reply
	in := bufio.NewReader(c)
	wait := answerTimeout
	for {
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return out, err
		}
		if _, err := in.Peek(1); err != nil {
			if len(out) == 0 {
				return nil, fmt.Errorf("no answer: %w", err)
			}
			return out, nil
		}
		r, err := readReply(in, method)
		if err != nil {
			return out, err
		}
		out, wait, method = append(out, r), silence, http.MethodGet
	}
}

func readReply(in *bufio.Reader, method string) (reply, error) {
	answer, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return reply{}, fmt.Errorf("the answer is no HTTP: %w", err)
	}
	var body bytes.Buffer
	_, err = body.ReadFrom(answer.Body)
	// A refused CONNECT has a body without a length; the end of the connection
	// ends it.
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			return reply{}, fmt.Errorf("the answer's body: %w", err)
		}
	}
	return reply{answer.StatusCode, body.String(), answer.ContentLength}, nil
}
