package outages

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	strangers = 2000 // on each of three ports; what they hold stays below a third
	// strangerPause is how soon one that was thrown out comes back.
	strangerPause = 2 * time.Second
	// idleLimit is how long a connection that says nothing may be kept.
	idleLimit = 10 * time.Second
)

// crowd opens connections that never authenticate, and keeps them open as long
// as it may.
type crowd struct {
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	opened  atomic.Int64
	longest atomic.Int64 // ns that one was kept
}

func startCrowd(t *testing.T) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{cancel: cancel}
	for _, address := range []string{xdsAddress, joinAddress, registryAddress} {
		for i := range strangers {
			c.wait.Go(func() {
				for ctx.Err() == nil {
					c.one(ctx, address, i)
					select {
					case <-ctx.Done():
					case <-time.After(strangerPause):
					}
				}
			})
		}
	}
	t.Cleanup(c.stop)
	return c
}

func (c *crowd) stop() {
	c.cancel()
	c.wait.Wait()
}

// one says nothing, begins a handshake and stops, or makes one without a
// certificate; then it waits to be thrown out.
func (c *crowd) one(ctx context.Context, address string, manner int) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	began := time.Now()
	c.opened.Add(1)
	switch manner % 8 {
	case 0, 1, 2:
		_, err = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01")
	case 3:
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, conn) // until it is thrown out
	}
	conn.Close()
	if ctx.Err() == nil {
		kept := int64(time.Since(began))
		for old := c.longest.Load(); kept > old && !c.longest.CompareAndSwap(old, kept); old = c.longest.Load() {
		}
	}
}

// Those who never say who they are keep nobody out.
func testStrangers(t *testing.T, s *site) {
	quiet := s.editLatency(t, 5)
	l := startLoad(t, *rate/5)
	pid := s.running[controlPlane].PID()
	before, watched, began := uses(t, pid), watch(t, pid), time.Now()
	logged := len(s.log(controlPlane))
	c := startCrowd(t)
	time.Sleep(forms(3*time.Second, 15*time.Second))
	busy := s.editLatency(t, 5)

	killed := time.Now()
	s.running[callerSidecar].Kill()
	s.start(callerSidecar)
	s.must(startTimeout, "a sidecar to join beside the strangers", answers(allowedPath, http.StatusOK))
	joined := time.Now()
	time.Sleep(max(0, idleLimit-time.Since(began)))
	most := watched.stop()
	c.stop()
	l.stop()
	// What was on its way when the sidecar was killed is lost with it.
	whole, outside := l.between(l.began, time.Now()), l.between(l.began, killed.Add(-time.Second))
	lines := len(s.log(controlPlane)) - logged
	t.Logf("%d connections were opened, and the longest was kept for %v", c.opened.Load(), time.Duration(c.longest.Load()).Round(time.Millisecond))
	t.Logf("an edit is in force after %v, beside them after %v; a sidecar was started, joined and served after %v",
		quiet.Round(time.Millisecond), busy.Round(time.Millisecond), joined.Sub(killed).Round(time.Millisecond))
	t.Logf("the control plane: %v before, at most %v; %d bytes of log", before, most, lines)
	t.Logf("requests: %v", outside)
	if outside.lost > 0 || whole.opened > 0 {
		t.Errorf("%d requests were lost before the sidecar was killed, %d got what is denied", outside.lost, whole.opened)
	}
	if busy > 3*quiet+500*time.Millisecond {
		t.Errorf("edits are late: %v instead of %v", busy, quiet)
	}
	if longest := time.Duration(c.longest.Load()); longest > idleLimit || longest == 0 {
		t.Errorf("a connection that said nothing was kept for %v", longest)
	}
	if most.memory > before.memory+100 || most.descriptors > before.descriptors+strangers {
		t.Errorf("the strangers took %d MB and %d descriptors", most.memory-before.memory, most.descriptors-before.descriptors)
	}
	if n := strings.Count(s.log(controlPlane), "did not prove that it is a sidecar's"); n == 0 || n > 40 {
		t.Errorf("%d lines tell of the strangers", n)
	}
}
