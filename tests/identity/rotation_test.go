package identity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

var errNotYet = errors.New("not yet")

// after lets a load run for a while and wants no failure of it.
func (l *load) after(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	l.wantNone(t, 1)
}

// The root is replaced under load, and the control plane is killed in the middle
// of it: not one handshake may fail.
func (n *network) testRotation(t *testing.T) {
	oldToken := n.token(t, buyer)
	before, bad := n.roots(t), n.badHandshakes(t)
	shaken := n.counted(t, store, `listener\..*ssl\.handshake$`)
	began := time.Now()
	l := n.load(t, *rate)
	n.rotate(t, ca.Start)
	if out, err := n.wasmesh("ca", "rotate", "finish"); err == nil || !strings.Contains(out, `"switch"`) {
		t.Errorf("a step was left out: %v", err)
	}
	n.restartUnaware(t, ca.Switch)
	n.rotate(t, ca.Switch)
	n.restartUnaware(t, ca.Finish)
	n.rotate(t, ca.Finish)
	n.await(t, *life, "everyone to drop the old root", func() error {
		for _, w := range []string{buyer.Name, store.Name} {
			kept, err := os.ReadFile(filepath.Join(n.work, w, "membership.json"))
			if err != nil || strings.Count(string(kept), "BEGIN CERTIFICATE") != 1 {
				return errNotYet
			}
		}
		return nil
	})
	time.Sleep(time.Second)
	took := time.Since(began)
	// A busy machine may be slower; a failure is none of its business.
	l.wantNone(t, int(took.Seconds()*float64(*rate)/2))
	if after := n.roots(t); after == before || strings.Count(after, "trusted") != 1 {
		t.Errorf("the root was not replaced:\n%s\nbefore:\n%s", after, before)
	}
	if now := n.badHandshakes(t); now != bad {
		t.Errorf("Envoys count %d failed handshakes", now-bad)
	}
	made, _ := l.result()
	if got := n.counted(t, store, `listener\..*ssl\.handshake$`) - shaken; got < made {
		t.Errorf("%d handshakes for %d connections: they were not new", got, made)
	}
	t.Logf("three steps in %v, %.0f connections per second", took.Round(100*time.Millisecond), float64(made)/took.Seconds())
	n.joinWithOld(t, oldToken)
}

// restartUnaware kills the control plane: it comes back where it was, and makes no
// step before everyone has told again what the Envoy there runs with.
func (n *network) restartUnaware(t *testing.T, next ca.Step) {
	t.Helper()
	n.control.end(t, syscall.SIGKILL)
	n.startControl(t)
	if out, err := n.wasmesh("ca", "rotate", string(next)); err == nil || !strings.Contains(out, "shop/") {
		t.Errorf("%s without knowing whom that cuts off: %v: %s", next, err, out)
	}
}

// joinWithOld: a token from before the rotation names the old root, and is good
// nevertheless.
func (n *network) joinWithOld(t *testing.T, token string) {
	t.Helper()
	n.sidecars[buyer].end(t, syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(n.work, buyer.Name)); err != nil {
		t.Fatal(err)
	}
	n.startSidecar(t, buyer, token)
	n.awaitReady(t, buyer)
	n.await(t, readyTimeout, "the buyer to be back", n.dial)
}

func (n *network) roots(t *testing.T) string {
	t.Helper()
	out, err := n.wasmesh("ca", "rotate", "status")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rotate makes a step as soon as it cuts nobody off.
func (n *network) rotate(t *testing.T, step ca.Step) {
	t.Helper()
	began := time.Now()
	if _, err := n.wasmesh("ca", "rotate", string(step), "--wait", "2m"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s after %v", step, time.Since(began).Round(10*time.Millisecond))
}
