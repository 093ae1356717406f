package identity

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// load opens new connections at a rate, each on its own, and counts.
type load struct {
	stop func()

	mu       sync.Mutex
	made     int
	failures []string
}

// maxOpen bounds the connections that wait for an answer: a machine that is too
// busy for the rate makes it lower, and no connection wait until it gives up.
const maxOpen = 64

func (n *network) load(t *testing.T, perSecond int) *load {
	t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx, n.dial, time.Second/time.Duration(perSecond))
	}()
	l.stop = func() { cancel(); <-done }
	t.Cleanup(l.stop)
	return l
}

// run keeps to the rate: what a busy machine missed is made up for.
func (l *load) run(ctx context.Context, dial func() error, every time.Duration) {
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxOpen)
	for next := time.Now(); ctx.Err() == nil; next = next.Add(every) {
		time.Sleep(time.Until(next))
		slots <- struct{}{}
		all.Go(func() {
			err := dial()
			<-slots
			l.mu.Lock()
			defer l.mu.Unlock()
			l.made++
			if err != nil {
				l.failures = append(l.failures, fmt.Sprintf("%s: %v", time.Now().Format("05.000"), err))
			}
		})
	}
}

func (l *load) result() (made int, failures []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made, l.failures
}

// wantNone ends the load and wants no failure, at about the rate.
func (l *load) wantNone(t *testing.T, atLeast int) {
	t.Helper()
	l.stop()
	made, failures := l.result()
	if len(failures) > 0 {
		t.Errorf("%d of %d connections failed, the first: %s, the last: %s", len(failures), made, failures[0], failures[len(failures)-1])
	}
	if made < atLeast {
		t.Errorf("only %d connections were made, want %d at least", made, atLeast)
	}
	t.Logf("%d connections, %d failures", made, len(failures))
}

var number = regexp.MustCompile(`(?m): (\d+)$`)

// counted sums the counters of a workload's Envoy whose names match.
func (n *network) counted(t *testing.T, w mesh.Name, pattern string) int {
	t.Helper()
	text, err := n.admin(w).Get(context.Background(), "/stats?filter="+pattern)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, m := range number.FindAllStringSubmatch(string(text), -1) {
		v, _ := strconv.Atoi(m[1])
		sum += v
	}
	return sum
}

// badHandshakes is what both Envoys count of handshakes that came to nothing.
func (n *network) badHandshakes(t *testing.T) int {
	t.Helper()
	sum := 0
	for _, w := range []mesh.Name{buyer, store} {
		sum += n.counted(t, w, `ssl\.(connection_error|fail_verify_error|fail_verify_no_cert|fail_verify_san|fail_verify_cert_hash)$`)
	}
	return sum
}
