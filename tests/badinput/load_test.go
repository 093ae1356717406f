package badinput

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// loadInterval is the pause between two requests: light, as the machine also
// compiles modules.
const loadInterval = 10 * time.Millisecond

// load asks the store, over and over, for what the buyer may have and for what
// it may not have, by turns on a connection that is kept and on new ones.
type load struct {
	shop    *shop
	cancel  context.CancelFunc
	ended   chan struct{}
	before  int // what the store had seen
	allowed int
	denied  int
	wrong   []error
}

func (s *shop) startLoad() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{shop: s, cancel: cancel, ended: make(chan struct{}), before: s.apps.count("store/books")}
	go l.run(ctx)
	s.t.Cleanup(func() { cancel(); <-l.ended })
	return l
}

func (l *load) run(ctx context.Context) {
	defer close(l.ended)
	kept, fresh := &http.Transport{}, &http.Transport{DisableKeepAlives: true}
	defer kept.CloseIdleConnections()
	next := time.NewTicker(loadInterval)
	defer next.Stop()
	for turn := 0; ctx.Err() == nil; turn++ {
		transport := kept
		if turn%4 > 1 {
			transport = fresh
		}
		if turn%2 == 0 {
			l.allowed++
			l.one(transport, "/books", http.StatusOK)
		} else {
			l.denied++
			l.one(transport, "/admin", http.StatusForbidden)
		}
		<-next.C
	}
}

// one is never cut short by the end of the load: what is sent is counted.
func (l *load) one(transport *http.Transport, path string, want int) {
	got, err := ask(context.Background(), transport, outlet(buyer, store), store, path)
	if err == nil && got != want {
		err = fmt.Errorf("%s was answered %d, want %d", path, got, want)
	}
	if err != nil {
		l.wrong = append(l.wrong, fmt.Errorf("%s: %w", time.Now().Format(time.StampMilli), err))
	}
}

// stop ends the load, wants every answer to have been right, and wants the
// application to have seen exactly what was allowed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	<-l.ended
	for i, err := range l.wrong {
		if i == 5 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(err)
	}
	if seen := l.shop.apps.count("store/books") - l.before; seen != l.allowed {
		t.Errorf("%d requests were allowed, and the application saw %d", l.allowed, seen)
	}
	if seen := l.shop.apps.count("store/admin"); seen > 0 {
		t.Errorf("the application saw %d requests that are denied", seen)
	}
	if l.allowed < 10 {
		t.Errorf("only %d requests were sent; that proves nothing", l.allowed)
	}
	t.Logf("%d requests allowed and %d denied, %d wrong", l.allowed, l.denied, len(l.wrong))
}
