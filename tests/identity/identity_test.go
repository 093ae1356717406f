package identity

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// healTimeout is how soon everything works again after the control plane has
	// come back.
	healTimeout = 30 * time.Second
)

// TestLife is one mesh from its start through everything that time brings.
func TestLife(t *testing.T) {
	n := newNetwork(t, *life)
	n.start(t)
	t.Run("renewal", n.testRenewal)
	t.Run("rotation", n.testRotation)
	t.Run("reboot", n.testReboot)
	t.Run("control plane away", n.testAway)
	t.Run("certificate ended", n.testEnded)
}

// renewals is how often a sidecar received a certificate.
func (n *network) renewals(t *testing.T, w mesh.Name) int {
	t.Helper()
	return strings.Count(n.sidecars[w].said(t), "certificate received")
}

// A connection that is open stays open over a renewal, until the certificate
// that opened it ends.
func (n *network) testRenewal(t *testing.T) {
	before := n.renewals(t, buyer)
	c, err := n.open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	took := n.await(t, *life, "a renewal", func() error { return unless(n.renewals(t, buyer) > before) })
	if took > *life/2+time.Second {
		t.Errorf("renewed after %v, want half of %v", took, *life)
	}
	if err := exchange(c); err != nil {
		t.Errorf("a connection did not survive the renewal: %v", err)
	}
}

// A workload that reboots keeps its state folder and loses its memory.
func (n *network) testReboot(t *testing.T) {
	n.kill(t, store)
	n.startSidecar(t, store, "")
	n.awaitReady(t, store)
	n.await(t, readyTimeout, "the store to serve again", n.dial)
}

// The control plane is killed for half a lifetime, less what a renewal takes.
func (n *network) testAway(t *testing.T) {
	l := n.load(t, 20)
	n.control.end(t, syscall.SIGKILL)
	time.Sleep(*life/2 - 1500*time.Millisecond)
	n.startControl(t)
	before := n.renewals(t, buyer) + n.renewals(t, store)
	n.await(t, *life/2, "both renewals", func() error { return unless(n.renewals(t, buyer)+n.renewals(t, store) >= before+2) })
	l.wantNone(t, int(life.Seconds()/2*20/2))
}

// The control plane is killed for longer than certificates live: what is open is
// closed, what is new is refused, and all of it heals by itself.
func (n *network) testEnded(t *testing.T) {
	open, err := n.open()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	n.control.end(t, syscall.SIGKILL)
	n.await(t, *life+5*time.Second, "the open connection to be closed", func() error { return unless(exchange(open) != nil) })
	n.await(t, *life+5*time.Second, "new connections to be refused", func() error { return unless(n.dial() != nil) })
	for range 20 {
		if n.dial() == nil {
			t.Error("a connection was made after the certificates had ended")
		}
		time.Sleep(100 * time.Millisecond)
	}
	n.startControl(t)
	took := n.await(t, healTimeout, "the mesh to heal", n.dial)
	t.Logf("healed %v after the control plane was back", took.Round(10*time.Millisecond))
	n.load(t, 20).after(t, 2*time.Second)
}

// unless is an error unless ok.
func unless(ok bool) error {
	if ok {
		return nil
	}
	return errNotYet
}
