package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
)

const (
	callTimeout = 10 * time.Second
	// maxBody is far more than any answer here has, in bytes.
	maxBody = 64 << 10
	// maxIdle keeps connections open for all calls that can fly at a time.
	maxIdle = 64
)

// call is one request that a client makes. name is what it is counted under;
// empty means "METHOD path".
type call struct {
	name, method, path string
	header             http.Header
}

// caller makes calls to one address and counts their answers.
type caller struct {
	tally  *tally.Tally
	client *http.Client
	target string // host:port
}

func newCaller(t *tally.Tally, target string) *caller {
	return &caller{tally: t, target: target, client: &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: maxIdle, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// do makes one call that has begun, counts what became of it, and returns the
// answer's code; 0 if there was none.
func (c *caller) do(ctx context.Context, one call) int {
	code, by, err := c.roundTrip(ctx, one)
	if err != nil {
		c.tally.Fail(causeOf(err))
		return 0
	}
	name := one.name
	if name == "" {
		name = one.method + " " + one.path
	}
	c.tally.Get(time.Now(), tally.Got{Request: name, Code: code, By: by})
	return code
}

// errRetried is a connection that broke under a request which the standard
// library then sent again, unasked.
var errRetried = errors.New("reset (and sent again)")

func (c *caller) roundTrip(ctx context.Context, one call) (code int, by string, err error) {
	var writes atomic.Int32
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { writes.Add(1) },
	})
	r, err := http.NewRequestWithContext(ctx, one.method, "http://"+c.target, nil)
	if err != nil {
		return 0, "", err
	}
	// Opaque goes out as it is: nothing tidies up the path before the mesh sees it.
	r.URL = &url.URL{Scheme: "http", Host: c.target, Opaque: one.path}
	if one.header != nil {
		r.Header = one.header.Clone()
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return 0, "", fmt.Errorf("body: %w", err)
	}
	if writes.Load() > 1 {
		return 0, "", errRetried
	}
	return answer.StatusCode, author(body), nil
}

// author reads who answered; only applications say so.
func author(body []byte) string {
	var a reply
	if json.Unmarshal(body, &a) != nil || a.From == "" {
		return tally.Proxy
	}
	return a.From
}

// causeOf names a failure shortly, so that equal ones are counted together.
func causeOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errRetried):
		return errRetried.Error()
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed before the answer"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return fmt.Sprintf("%.200s", err.Error())
}
