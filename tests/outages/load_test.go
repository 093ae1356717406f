package outages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	allowedPath   = "/books"
	deniedPath    = "/admin"
	answerTimeout = 10 * time.Second
	// inFlight bounds the requests without an answer; a machine that is too slow
	// for the rate sends late instead of without end.
	inFlight = 512
	// Every tenth request asks for what is denied.
	deniedEach = 10
)

// outcome is one request of the load.
type outcome struct {
	at     time.Time // when it was sent
	took   time.Duration
	denied bool // it asked for what is denied
	status int  // 0: no answer
	ours   bool // the application itself answered
	cause  error
}

// lost: the caller did not get what the policy says.
func (o outcome) lost() bool {
	if o.denied {
		return o.status != http.StatusForbidden
	}
	return o.status != http.StatusOK || !o.ours
}

// opened: the caller got what is denied.
func (o outcome) opened() bool { return o.denied && (o.ours || o.status == http.StatusOK) }

// load sends at a fixed rate whatever comes back.
type load struct {
	cancel context.CancelFunc
	ended  chan struct{}
	began  time.Time
	mu     sync.Mutex
	all    []outcome
}

func startLoad(t *testing.T, perSecond int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, ended: make(chan struct{}), began: time.Now()}
	go l.run(ctx, perSecond)
	t.Cleanup(l.stop)
	return l
}

// stop returns when every request has its outcome.
func (l *load) stop() {
	l.cancel()
	<-l.ended
}

func (l *load) run(ctx context.Context, perSecond int) {
	defer close(l.ended)
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight, MaxConnsPerHost: inFlight}
	defer transport.CloseIdleConnections()
	slots := make(chan struct{}, inFlight)
	var open sync.WaitGroup
	defer open.Wait()
	for i := 0; ctx.Err() == nil; i++ {
		time.Sleep(time.Until(l.began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		slots <- struct{}{}
		denied := i%deniedEach == 0
		open.Go(func() {
			o := send(transport, denied)
			l.mu.Lock()
			l.all = append(l.all, o)
			l.mu.Unlock()
			<-slots
		})
	}
}

// unrepeatable is a body that the transport cannot send a second time: a request
// that was lost must not be sent again behind the test's back.
type unrepeatable struct{ *strings.Reader }

func (unrepeatable) Close() error { return nil }

func send(transport *http.Transport, denied bool) outcome {
	o := outcome{at: time.Now(), denied: denied}
	path := allowedPath
	if denied {
		path = deniedPath
	}
	o.status, o.ours, o.cause = ask(context.Background(), transport, path)
	o.took = time.Since(o.at)
	return o
}

// ask posts one request through the caller's sidecar.
func ask(ctx context.Context, transport *http.Transport, path string) (status int, ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+outlet+path, unrepeatable{strings.NewReader("x")})
	if err != nil {
		return 0, false, err
	}
	request.ContentLength, request.Host = 1, "store.shop"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, false, err
	}
	return response.StatusCode, response.Header.Get(answered) != "", response.Body.Close()
}

// answers returns a probe for the status of a request on a connection of its own.
func answers(path string, want int) func(context.Context) error {
	return func(ctx context.Context) error {
		transport := &http.Transport{DisableKeepAlives: true}
		status, _, err := ask(ctx, transport, path)
		if err == nil && status != want {
			err = fmt.Errorf("%s is answered %d, want %d", path, status, want)
		}
		return err
	}
}

// tally is what became of the requests of one window.
type tally struct {
	sent, lost, opened int
	// first and last are when the first and the last lost one was sent.
	first, last time.Time
	causes      map[string]int
	slowest     time.Duration
}

// between counts the requests that were sent in a window.
func (l *load) between(from, to time.Time) tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := tally{causes: map[string]int{}}
	for _, o := range l.all {
		if o.at.Before(from) || !o.at.Before(to) {
			continue
		}
		c.sent++
		c.slowest = max(c.slowest, o.took)
		if o.opened() {
			c.opened++
		}
		if !o.lost() {
			continue
		}
		c.lost++
		c.causes[o.why()]++
		if c.first.IsZero() || o.at.Before(c.first) {
			c.first = o.at
		}
		if o.at.After(c.last) {
			c.last = o.at
		}
	}
	return c
}

// why is short enough to count by.
func (o outcome) why() string {
	if o.cause == nil {
		return fmt.Sprintf("answered %d", o.status)
	}
	cause := o.cause
	for errors.Unwrap(cause) != nil {
		cause = errors.Unwrap(cause)
	}
	return cause.Error()
}

// gap is for how long requests were lost.
func (c tally) gap() time.Duration {
	if c.lost == 0 {
		return 0
	}
	return c.last.Sub(c.first).Round(time.Millisecond)
}

func (c tally) String() string {
	return fmt.Sprintf("%d sent, %d lost within %v, %d opened, slowest %v %v", c.sent, c.lost, c.gap(), c.opened, c.slowest.Round(time.Millisecond), c.causes)
}
