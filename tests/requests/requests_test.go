// Package requests sends hostile requests through a running mesh and asks the
// applications behind it what they saw. The corpus in testdata is meant to be
// read: each shape says where it comes from, what is sent and what must become
// of it, by the caller's own sidecar and past it.
//
// It never replaces a part of the mesh by a stand-in, never skips, and never
// takes an answer for a proof: what counts is what arrived.
package requests

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	// atOnce is large because most of the time is spent waiting: a sidecar closes a
	// connection with malformed frames a second later.
	atOnce = 64
	// settleTime is for what might arrive after its answer.
	settleTime = 700 * time.Millisecond
	// leastShapes is how many the corpus had when it was last counted; it grows.
	leastShapes = 290
	// honestMark ends the id of the request that follows a hostile one.
	honestMark = "-honest"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("requests", filepath.Join("..", ".."), &programs, m.Run))
}

// TestRequests sends everything, judges it, and then shows that the judge can
// find something.
func TestRequests(t *testing.T) {
	shapes, err := readCorpus()
	if err != nil {
		t.Fatal(err)
	}
	if len(shapes) < leastShapes {
		t.Errorf("the corpus has only %d shapes", len(shapes))
	}
	n := startNetwork(t)
	all := append(shapes, generated()...)
	heard := n.hear(t, all)
	report(os.Stdout, heard)
	for _, h := range heard {
		if err := h.judge(); err != nil {
			t.Error(err)
		}
	}
	t.Run("nothing else listens", func(t *testing.T) { nothingElseListens(t, n) })
	t.Run("everything granted", func(t *testing.T) { judgeFindsWhatPolicyHeld(t, n, shapes) })
	t.Run("no mesh", func(t *testing.T) { judgeFindsWhatSidecarsHeld(t, n, shapes) })
}

// hear sends every shape on every way to every application. The result has what
// arrived; what belongs to none of them fails the test.
func (n *network) hear(t *testing.T, shapes []shape) []hearing {
	t.Helper()
	n.applications.take()
	var all []hearing
	for _, s := range shapes {
		for _, w := range s.ways() {
			for _, k := range kinds() {
				all = append(all, hearing{shape: s, way: w, kind: k, id: fmt.Sprintf("s%d", len(all))})
			}
		}
	}
	attend(batches(all), n.attend)
	for id, seen := range settle(all, n.applications) {
		t.Errorf("what belongs to no shape arrived with the id %q: %s", id, targets(seen))
	}
	return all
}

// attend calls do for all batches, a few at a time.
func attend(all [][]*hearing, do func([]*hearing)) {
	next := make(chan []*hearing)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for batch := range next {
				do(batch)
			}
		})
	}
	for _, batch := range all {
		next <- batch
	}
	close(next)
	workers.Wait()
}

// settle waits for what is late, gives each hearing what arrived for it, and
// returns the rest.
func settle(all []hearing, a *applications) map[string][]arrival {
	time.Sleep(settleTime)
	arrived := a.take()
	for i := range all {
		all[i].seen = arrived[all[i].id]
		delete(arrived, all[i].id)
		delete(arrived, all[i].id+honestMark)
	}
	return arrived
}

// nothingElseListens dials what a neighbour may try: a proxy's administration
// and well-known ports of other meshes, ports that no manifest names, and the
// same ports where IPv6 has its loopback.
func nothingElseListens(t *testing.T, n *network) {
	var closed []netip.AddrPort
	for _, port := range []uint16{80, 443, 9901, 15000, 15001, 15004, 15006, 15010, 15020, 15021, 15090, 19000, 8080, 8085} {
		for _, at := range []netip.Addr{n.inlet, n.outlet, n.client} {
			closed = append(closed, netip.AddrPortFrom(at, port))
		}
	}
	for _, k := range kinds() {
		closed = append(closed, netip.AddrPortFrom(n.client, k.port), netip.AddrPortFrom(netip.IPv6Loopback(), k.port),
			netip.AddrPortFrom(netip.AddrFrom16(n.inlet.As16()), k.port+100))
	}
	for _, at := range closed {
		conn, err := net.DialTimeout("tcp", at.String(), answerTimeout)
		if err == nil {
			conn.Close()
			t.Errorf("something listens at %s", at)
		}
	}
}
