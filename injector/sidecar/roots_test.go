package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

// dump is an Envoy that runs with what a test says.
type dump struct{ chain, roots, otherRoots string }

func (d *dump) serve(t *testing.T, socket string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	inline := func(s string) object { return object{"inline_string": s} }
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(object{"configs": []any{
			object{"name": IdentitySecret, "secret": object{"tls_certificate": object{"certificate_chain": inline(d.chain)}}},
			object{"name": TrustSecret, "secret": object{"validation_context": object{"trusted_ca": inline(d.roots)}}},
			object{"name": TrustSecret, "secret": object{"validation_context": object{"trusted_ca": inline(d.otherRoots)}}},
		}})
	}))
}

func certificates(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), "BEGIN CERTIFICATE")
}

// A sidecar takes up each step of a rotation, and says so when its Envoy has.
func TestFollowRoots(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	state := t.TempDir()
	e := newEnrolment(t, c, state, c.token(t))
	e.run.path = shortDir(t)
	e.admin = Admin{e.run.file(AdminSocket)}
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	step := func(s ca.Step) {
		t.Helper()
		if _, err := c.authority.Rotate(s, true); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(roots int) (signer string) {
		t.Helper()
		for range 2 { // the second tells what the first has changed
			var err error
			if signer, err = e.followRoots(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{filepath.Join(state, membershipFile), e.run.file(TrustFile)} {
			if n := certificates(t, path); n != roots {
				t.Errorf("%s has %d roots, want %d", path, n, roots)
			}
		}
		return signer
	}
	waiting := func(want string) {
		t.Helper()
		r, err := c.authority.Rotation()
		if err != nil || want == "" && len(r.Waiting) > 0 || want != "" && (len(r.Waiting) != 1 || !strings.Contains(r.Waiting[0].Cause, want)) {
			t.Errorf("waiting %v, want %q; %v", r.Waiting, want, err)
		}
	}
	step(ca.Start)
	follow(2)
	waiting("has not told") // the files are there, Envoy is not
	d := &dump{chain: string(e.current.Certificates), otherRoots: string(e.current.TrustBundle)}
	d.serve(t, e.admin.Socket)
	follow(2)
	waiting("does not trust") // one of Envoy's two readers of the file is late
	d.roots = d.otherRoots
	follow(2)
	waiting("")
	step(ca.Switch)
	if signer := follow(2); signer == e.current.Signer {
		t.Error("the switch was not noticed")
	}
	e.current.Lifetime = 8 * time.Second // asks once a second
	began := time.Now()
	if !e.untilRenewal(bounded(t), began.Add(time.Hour)) || time.Since(began) > 5*time.Second {
		t.Error("another root signs, and nothing is renewed")
	}
	if _, err := e.once(bounded(t)); err != nil {
		t.Fatal(err)
	}
	follow(2)
	waiting("certificate of the old root") // Envoy has the old one still
	d.chain = string(e.current.Certificates)
	follow(2)
	waiting("")
	step(ca.Finish)
	follow(1)
}

// A bundle that cannot be kept is not handed to Envoy either: the next start
// would not know the control plane.
func TestRootsAreKeptFirst(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	e := newEnrolment(t, c, t.TempDir(), c.token(t))
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.authority.Rotate(ca.Start, true); err != nil {
		t.Fatal(err)
	}
	e.proof.(*joined).stateDir = filepath.Join(t.TempDir(), "gone")
	if _, err := e.followRoots(bounded(t)); err == nil {
		t.Error("no error")
	}
	if n := certificates(t, e.run.file(TrustFile)); n != 1 {
		t.Errorf("Envoy got %d roots", n)
	}
}

// Sleeping ends by whichever clock is there first.
func TestSleepUntil(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, at := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour).Round(0), time.Now().Add(20 * time.Millisecond)} {
		began := time.Now()
		if !sleepUntil(ctx, at) || time.Since(began) > time.Second {
			t.Errorf("%v: slept for %v", at, time.Since(began))
		}
	}
	cancel()
	if sleepUntil(ctx, time.Now().Add(time.Hour)) || sleepUntil(ctx, time.Now().Add(-time.Hour)) {
		t.Error("it did not notice that its context had ended")
	}
}

// A skew that is not tolerated is said aloud with its size.
func TestSkewIsTold(t *testing.T) {
	c := newControlPlane(t)
	defer c.start(t)()
	state := t.TempDir()
	if _, err := newEnrolment(t, c, state, c.token(t)).start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for d, told := range map[time.Duration]bool{4 * time.Minute: false, 7 * time.Minute: true} {
		e := newEnrolment(t, c, state, "")
		e.proof.(*joined).client.Now = func() time.Time { return time.Now().Add(d) }
		var log safeBuffer
		e.log = textLog(&log)
		m, err := e.start(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), fmt.Sprintf("ahead=%v", d)); got != told {
			t.Errorf("%v: told %v:\n%s", d, got, &log)
		}
		// However wrong the clock, the renewal comes at half of the life.
		if at := renewAt(e.received, m.Lifetime, 1).Sub(e.received); (at - ca.DefaultLeafLifetime/2).Abs() > time.Minute {
			t.Errorf("%v: renews after %v", d, at)
		}
	}
}

func textLog(b *safeBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
