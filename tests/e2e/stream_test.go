package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// minCalls is how many new connections per second there are on a machine that has
// much else to do.
const minCalls = 30

// calls are a stream of calls, each on a connection of its own.
type calls struct {
	began   time.Time
	ended   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	made   int
	failed map[string]int
}

// startCalls lets a pod call a URL until stop.
func startCalls(t *testing.T, from corev1.Pod, container, url string) *calls {
	const callers = 2
	c := &calls{began: time.Now(), ended: make(chan struct{}), failed: map[string]int{}}
	for range callers {
		c.running.Go(func() {
			for {
				select {
				case <-c.ended:
					return
				case <-t.Context().Done():
					return
				default:
					c.note(call(t.Context(), from, container, "-count", "50", "-pause", "5ms", url))
				}
			}
		})
	}
	return c
}

func (c *calls) note(answers string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range strings.Split(answers, "\n") {
		c.made++
		if !strings.HasPrefix(a, "200 ") {
			c.failed[a]++
		}
	}
}

// stop ends the stream, of which nothing may have failed.
func (c *calls) stop(t *testing.T) {
	t.Helper()
	close(c.ended)
	c.running.Wait()
	rate := float64(c.made) / time.Since(c.began).Seconds()
	figures.Tell(t, "%d calls, each on a connection of its own, %.0f/s; failed: %v", c.made, rate, c.failed)
	if len(c.failed) > 0 || rate < minCalls {
		t.Errorf("of %d calls failed %v; %.0f per second", c.made, c.failed, rate)
	}
}
