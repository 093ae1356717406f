package wasmhost

import (
	"bufio"
	"fmt"
	"time"
)

// online is the doors in a real Envoy.
type online struct {
	*proxy
	backends *backends
}

const (
	// settleTimeout bounds the wait for a log line that is expected. Lines are
	// there within milliseconds; only a difference waits this long.
	settleTimeout = 3 * time.Second
	// pieceTimeout bounds the wait for the guest to have seen a piece of a body:
	// pieces that are sent at once could arrive as one.
	pieceTimeout = 150 * time.Millisecond
	poll         = 5 * time.Millisecond
)

// visit sends the request and reads until want is seen, or settleTimeout.
func (o *online) visit(d door, v visit, want transcript) (transcript, error) {
	since := o.mark()
	o.backends.expect(v.answer, o.seenBy(d))
	c, err := o.dial(d)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	seen := o.seenBy(d)
	if err := writeHead(c, v.method()+" /p HTTP/1.1\r\nhost: a", v.sent()); err != nil {
		return nil, err
	}
	if v.chunked() {
		// A refused request may be answered, and its connection closed, before the
		// body is written: what the client gets says so.
		_ = writeChunks(c, v.body, v.trailers, seen)
	}
	client := []string{"closed"}
	if m, err := readMessage(bufio.NewReader(c)); err == nil {
		client = m.lines()
	}
	c.Close()
	var t transcript
	for deadline := time.Now().Add(settleTimeout); ; time.Sleep(poll) {
		t = nil
		got, called := o.backends.received()
		for _, m := range got {
			t.add("upstream", m.lines())
		}
		for _, m := range called {
			t.add("called", calledLines(m))
		}
		t.add("client", client)
		t.add("log", o.said(d, since, false))
		same := fmt.Sprint(t) == fmt.Sprint(want) || v.repeats && fmt.Sprint(t.once()) == fmt.Sprint(want.once())
		if same || v.enough != nil && v.enough(t) || time.Now().After(deadline) {
			return t, nil
		}
	}
}

// seenBy returns a function that waits until the guest has logged something
// since it was last called.
func (o *online) seenBy(d door) func() {
	last := o.mark()
	return func() {
		for deadline := time.Now().Add(pieceTimeout); time.Now().Before(deadline); time.Sleep(poll) {
			if len(o.said(d, last, false)) > 0 {
				break
			}
		}
		last = o.mark()
	}
}
