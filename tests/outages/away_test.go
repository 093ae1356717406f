package outages

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// backLimit is within which everything serves again after the control plane is
// back. Only the long form, which runs alone, holds it to that.
func backLimit() time.Duration { return forms(30*time.Second, 5*time.Second) }

// The control plane is killed under load. Who has a configuration goes on with
// it; who starts meanwhile refuses; everything heals by itself.
func testAway(t *testing.T, s *site) {
	l := startLoad(t, *rate)
	time.Sleep(forms(3*time.Second, 20*time.Second))
	baseline := time.Now()

	s.running[controlPlane].Kill()
	s.allow(allowedPath, "/extra") // nobody hears of it yet
	time.Sleep(forms(5*time.Second, 60*time.Second))
	killed := time.Now()
	before, away := l.between(l.began, baseline), l.between(baseline, killed)
	t.Logf("with the control plane:    %v", before)
	t.Logf("without the control plane: %v", away)
	t.Logf("the rate was %.0f/s and %.0f/s", perSecond(before, baseline.Sub(l.began)), perSecond(away, killed.Sub(baseline)))
	if before.lost > 0 || away.lost > 0 {
		t.Errorf("%d requests were lost with the control plane and %d without it", before.lost, away.lost)
	}
	if away.sent < 100 {
		t.Errorf("only %d requests were sent; that proves nothing", away.sent)
	}

	s.running[storeSidecar].Kill()
	s.start(storeSidecar)
	restarted := time.Now()
	time.Sleep(forms(2*time.Second, 10*time.Second))
	refuses(t, inlet)
	back := time.Now()
	closed := l.between(restarted, back)
	t.Logf("a proxy that starts without a control plane: %v", closed)
	if n := l.served(restarted, back); n > 0 {
		t.Errorf("the application answered %d requests behind a proxy without a configuration: %v", n, closed)
	}

	began := time.Now()
	s.start(controlPlane)
	published := s.must(startTimeout, "the control plane to publish", s.publishes)
	began = began.Add(published)
	serves := s.must(backLimit(), "the restarted proxy to serve", answers(allowedPath, http.StatusOK))
	edited := serves + s.must(max(backLimit()-serves, time.Second), "the edit made meanwhile", answers("/extra", http.StatusOK))
	s.ready(backLimit(), caller, store)
	settled := time.Since(began)
	t.Logf("the control plane published %v after its start; the restarted proxy served %v later, the edit made meanwhile was in force after %v, all was settled after %v",
		published.Round(time.Millisecond), serves.Round(time.Millisecond), edited.Round(time.Millisecond), settled.Round(time.Millisecond))
	healed := time.Now()
	t.Logf("until then: %v", l.between(back, healed))
	s.timeouts(caller, store)
	time.Sleep(2 * time.Second)
	l.stop()
	after, whole := l.between(healed, time.Now()), l.between(l.began, time.Now())
	t.Logf("afterwards: %v", after)
	if after.lost > 0 || whole.opened > 0 {
		t.Errorf("afterwards %d were lost; %d in all got what is denied", after.lost, whole.opened)
	}
}

// The caller's own sidecar starts during an absence, too: its application finds
// nobody, and never a way around.
func testCallerStartsAlone(t *testing.T, s *site) {
	s.running[controlPlane].Kill()
	s.running[callerSidecar].Kill()
	s.start(callerSidecar)
	time.Sleep(forms(time.Second, 10*time.Second))
	refuses(t, outlet)
	s.start(controlPlane)
	s.must(startTimeout, "the control plane to publish", s.publishes)
	took := s.must(backLimit(), "the caller's sidecar to serve", answers(allowedPath, http.StatusOK))
	s.must(applyTimeout, "the denial", answers(deniedPath, http.StatusForbidden))
	t.Logf("served %v after the control plane was back", took.Round(time.Millisecond))
}

// timeouts shows what an Envoy waited for in vain.
func (s *site) timeouts(workloads ...mesh.Name) {
	for _, w := range workloads {
		text, err := s.admin(w).Get(s.t.Context(), "/stats?usedonly&filter=timeout")
		s.t.Logf("%s: %s %v", w, text, err)
	}
}

// publishes returns nil once the control plane has a module and a mesh to tell of.
func (s *site) publishes(ctx context.Context) error {
	seen, err := s.seen(ctx)
	if err == nil && seen.Module == "" {
		err = errors.New("it has no module yet")
	}
	return err
}

// refuses fails the test if anybody accepts.
func refuses(t *testing.T, address string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, answerTimeout)
	if err == nil {
		err = errors.New("it accepts")
		t.Errorf("%s without a configuration: %v", address, errors.Join(err, conn.Close()))
	}
}

func perSecond(c tally, window time.Duration) float64 { return float64(c.sent) / window.Seconds() }

// served counts the answers of the application in a window.
func (l *load) served(from, to time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, o := range l.all {
		if o.ours && !o.at.Before(from) && o.at.Before(to) {
			n++
		}
	}
	return n
}
