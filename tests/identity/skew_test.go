package identity

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// TestSkew sets the clock of the control plane, which is to set those of all
// sidecars and Envoys to the contrary.
func TestSkew(t *testing.T) {
	n := newNetwork(t, 20*time.Minute)
	var ahead atomic.Int64
	set := func(d time.Duration) { ahead.Store(int64(d)) }
	edge := ca.MaxSkew - 5*time.Second
	set(edge)
	n.controlAt(t, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	for _, w := range []mesh.Name{buyer, store} {
		n.startSidecar(t, w, n.token(t, w))
	}
	n.awaitReady(t, buyer, store)
	n.await(t, readyTimeout, "a connection while the control plane is ahead", n.dial)

	// One peer's certificate is of a clock that is ahead, the other's of one behind.
	set(-edge)
	n.kill(t, store)
	n.startSidecar(t, store, "")
	n.awaitReady(t, store)
	n.await(t, readyTimeout, "a connection while the control plane is behind", n.dial)
	if bad := n.badHandshakes(t); bad > 0 {
		t.Errorf("Envoys count %d failed handshakes", bad)
	}
	for _, w := range []mesh.Name{buyer, store} {
		if strings.Contains(n.sidecars[w].said(t), "the clock of this machine is wrong") {
			t.Errorf("%s complains of a skew that is tolerated", w)
		}
	}

	// Too far: the newcomer is told why, keeps its token, and joins by itself once
	// the clock is right.
	set(8 * time.Minute)
	n.kill(t, buyer)
	if err := os.RemoveAll(filepath.Join(n.work, buyer.Name)); err != nil {
		t.Fatal(err)
	}
	n.startSidecar(t, buyer, n.tokenAt(t, buyer, 8*time.Minute))
	n.await(t, readyTimeout, "the sidecar to name the skew", func() error {
		return unless(strings.Contains(n.sidecars[buyer].said(t), "your clock is 8m0s behind the control plane's"))
	})
	set(0)
	n.awaitReady(t, buyer)
	n.await(t, readyTimeout, "a connection with the right time", n.dial)
}

// controlAt runs the control plane in this process, with a clock of its own.
func (n *network) controlAt(t *testing.T, now func() time.Time) {
	t.Helper()
	log, err := os.Create(filepath.Join(n.work, "control.log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- controlplane.Run(ctx, controlplane.Options{
			Source: "testdata", State: n.state(), Module: programs.Module, Modules: filepath.Join(n.state(), "modules"),
			XDS: xdsAddress, Join: joinAddress, Registry: registry, Status: filepath.Join(n.state(), "status.sock"),
			Settings: smi.Settings{TrustDomain: trustDomain}, LeafLifetime: n.life, Now: now,
			Log: slog.New(slog.NewTextHandler(log, nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		log.Close()
	})
	n.await(t, readyTimeout, "the control plane", func() error {
		_, err := n.wasmesh("status")
		return err
	})
}

// tokenAt is a token of a control plane whose clock is ahead.
func (n *network) tokenAt(t *testing.T, w mesh.Name, ahead time.Duration) string {
	t.Helper()
	authority, err := ca.Open(n.state(), ca.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
	if err != nil {
		t.Fatal(err)
	}
	token, err := authority.CreateToken(w, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
