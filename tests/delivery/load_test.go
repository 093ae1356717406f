package delivery

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// askers send the load, each on a connection that is kept, and now and then on a
// new one.
const askers = 20

// load asks the store for what the buyer may have and, every fourth time, for
// what it may not have, at a fixed rate: who waits for an answer sends the next
// question late, but does send it.
type load struct {
	shop   *shop
	cancel context.CancelFunc
	ended  sync.WaitGroup
	began  time.Time
	before int64

	mu      sync.Mutex
	allowed int64
	denied  int64
	longest time.Duration
	wrong   []string
}

func (s *shop) startLoad() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{shop: s, cancel: cancel, before: s.seen.Load(), began: time.Now()}
	for n := range askers {
		l.ended.Go(func() { l.ask(ctx, n) })
	}
	s.t.Cleanup(func() { cancel(); l.ended.Wait() })
	return l
}

func (l *load) ask(ctx context.Context, n int) {
	kept, fresh := &http.Transport{}, &http.Transport{DisableKeepAlives: true}
	defer kept.CloseIdleConnections()
	interval := time.Second * askers / time.Duration(*rate)
	next := l.began.Add(interval * time.Duration(n) / askers)
	for turn := n; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		next = next.Add(interval)
		transport, path, want := kept, "/books", http.StatusOK
		if turn%10 == 0 {
			transport = fresh
		}
		if turn%4 == 1 {
			path, want = "/admin", http.StatusForbidden
		}
		began := time.Now()
		got, err := once(transport, path)
		l.count(want, got, err, time.Since(began))
	}
}

// once is never cut short by the end of the load: what is sent is counted.
func once(transport *http.Transport, path string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+outlet+path, nil)
	if err != nil {
		return 0, err
	}
	request.Host = "store.shop"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func (l *load) count(want, got int, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if want == http.StatusOK {
		l.allowed++
	} else {
		l.denied++
	}
	l.longest = max(l.longest, took)
	if err != nil || got != want {
		l.wrong = append(l.wrong, fmt.Sprintf("%s: answered %d, want %d, %v", time.Now().Format(time.StampMilli), got, want, err))
	}
}

// stop ends the load, wants every answer to have been right, and wants the
// application to have seen exactly what was allowed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.ended.Wait()
	took := time.Since(l.began)
	for i, wrong := range l.wrong {
		if i == 5 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(wrong)
	}
	if seen := l.shop.seen.Load() - l.before; seen != l.allowed {
		t.Errorf("%d requests were allowed, and the application saw %d", l.allowed, seen)
	}
	sent := l.allowed + l.denied
	if sent < 100 {
		t.Errorf("only %d requests were sent; that proves nothing", sent)
	}
	t.Logf("%d requests in %v (%.0f/s): %d allowed, %d denied, %d wrong; the longest took %v",
		sent, took.Round(time.Second), float64(sent)/took.Seconds(), l.allowed, l.denied, len(l.wrong), l.longest.Round(time.Millisecond))
}
