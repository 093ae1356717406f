package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// cluster vouches for one token at a time, that of the pod shop/web-0.
type cluster struct {
	*controlPlane
	good             atomic.Pointer[string]
	tokenFile, roots string // files
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{tokenFile: filepath.Join(dir, "token"), roots: filepath.Join(dir, "roots.pem")}
	a, err := ca.Open(filepath.Join(t.TempDir(), "ca"), ca.Options{TrustDomain: "mesh.test", Attest: func(_ context.Context, token string) (ca.Identity, error) {
		if token != *c.good.Load() {
			return ca.Identity{}, fmt.Errorf("%w: not the token of a pod", ca.ErrRefused)
		}
		return ca.Identity{ServiceAccount: mesh.Name{Namespace: "shop", Name: "web"}, Workload: mesh.Name{Namespace: "shop", Name: "web-0"}, Kind: ca.KindPod}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.controlPlane = &controlPlane{authority: a, address: "127.0.0.1:0"}
	c.vouch("first")
	c.write(t, c.tokenFile, "first\n")
	c.write(t, c.roots, string(a.TrustBundle()))
	return c
}

func (c *cluster) vouch(token string) { c.good.Store(&token) }

// write replaces a file as the kubelet does: at once.
func (c *cluster) write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) enrolment(t *testing.T) (e *enrolment, state string) {
	t.Helper()
	state = t.TempDir()
	e = newEnrolment(t, c.controlPlane, state, "")
	e.proof = &attested{client: ca.Client{URL: "https://" + c.address}, tokenFile: c.tokenFile, rootsFile: c.roots, log: quiet}
	e.run.path = shortDir(t)
	e.admin = Admin{e.run.file(AdminSocket)}
	return e, state
}

// The token is read anew at every renewal, and nothing is kept that could be
// stolen or that a restart would need.
func TestAttestedReadsTokenAnew(t *testing.T) {
	c := newCluster(t)
	defer c.start(t)()
	e, state := c.enrolment(t)
	m, err := e.start(bounded(t))
	if err != nil || m.Workload.Name != "web-0" {
		t.Fatal(m.Workload, err)
	}
	c.vouch("second")
	if _, err := e.once(bounded(t)); !errors.Is(err, ca.ErrRefused) {
		t.Fatalf("the cluster does not vouch for this token any more: %v", err)
	}
	c.write(t, c.tokenFile, "second")
	if _, err := e.once(bounded(t)); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(state)
	if err != nil || len(left) != 0 {
		t.Errorf("the state folder holds %v, %v", left, err)
	}
}

// Whatever is not there yet, the start waits for it; none of it is final.
func TestAttestedWaits(t *testing.T) {
	c := newCluster(t)
	c.start(t)() // fixes the address
	roots, err := os.ReadFile(c.roots)
	if err != nil {
		t.Fatal(err)
	}
	other := newControlPlane(t)
	c.write(t, c.roots, string(other.authority.TrustBundle()))
	c.write(t, c.tokenFile, "")
	c.vouch("later")
	e, _ := c.enrolment(t)
	stop := make(chan func(), 1)
	go func() {
		pause := func() { time.Sleep(400 * time.Millisecond) }
		pause()
		stop <- c.start(t) // an impostor, as far as the file says
		pause()
		c.write(t, c.tokenFile, "early")
		pause()
		c.write(t, c.roots, "nonsense")
		pause()
		c.write(t, c.roots, string(roots))
		pause()
		c.vouch("early")
	}()
	began := time.Now()
	_, err = e.start(bounded(t))
	(<-stop)()
	if err != nil || time.Since(began) < 2*time.Second {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
}

// A rotation in three steps goes on while the file is old, as the platform takes
// a minute to replace it.
func TestAttestedFollowsRotation(t *testing.T) {
	c := newCluster(t)
	defer c.start(t)()
	e, _ := c.enrolment(t)
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for i, step := range []ca.Step{ca.Start, ca.Switch, ca.Finish} {
		if _, err := c.authority.Rotate(step, true); err != nil {
			t.Fatal(err)
		}
		signer, err := e.followRoots(bounded(t))
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if news := signer != e.current.Signer; news != (step == ca.Switch) {
			t.Errorf("%s: another root signs: %v", step, news)
		}
		if _, err := e.once(bounded(t)); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if n := certificates(t, e.run.file(TrustFile)); n != []int{2, 2, 1}[i] {
			t.Errorf("%s: Envoy has %d roots", step, n)
		}
	}
}

// When the control plane cannot be asked, the file decides, once it has changed:
// here the root was replaced at once, and nothing else leads to the new one.
func TestAttestedFollowsTheFile(t *testing.T) {
	c, after := newCluster(t), newCluster(t)
	stop := c.start(t)
	e, _ := c.enrolment(t)
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	stop()
	before, _ := os.ReadFile(e.run.file(TrustFile))
	if _, err := e.followRoots(bounded(t)); err == nil {
		t.Fatal("nobody was there to ask")
	}
	if now, _ := os.ReadFile(e.run.file(TrustFile)); string(now) != string(before) {
		t.Error("Envoy's roots changed though nothing else did")
	}
	after.address = c.address
	defer after.start(t)()
	if _, err := e.followRoots(bounded(t)); !errors.Is(err, ca.ErrImpostor) {
		t.Fatalf("a control plane that no root is known of: %v", err)
	}
	c.write(t, c.roots, string(after.authority.TrustBundle()))
	if _, err := e.followRoots(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.once(bounded(t)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(e.run.file(TrustFile))
	want := strings.ReplaceAll(string(after.authority.TrustBundle()), "\n", `\n`)
	if err != nil || !strings.Contains(string(data), want) || certificates(t, e.run.file(TrustFile)) != 1 {
		t.Errorf("Envoy does not have the root of the file alone: %v\n%s", err, data)
	}
	// What the control plane told itself is believed, whatever the file says since.
	c.write(t, c.roots, string(newControlPlane(t).authority.TrustBundle()))
	if _, err := e.once(bounded(t)); err != nil {
		t.Error(err)
	}
}

// A control plane that cannot be reached does not keep Envoy from the roots of a
// file that has changed.
func TestAttestedTakesTheFileAlone(t *testing.T) {
	c := newCluster(t)
	stop := c.start(t)
	e, _ := c.enrolment(t)
	if _, err := e.start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	stop()
	both := string(c.authority.TrustBundle()) + string(newControlPlane(t).authority.TrustBundle())
	c.write(t, c.roots, both)
	if signer, err := e.followRoots(bounded(t)); err != nil || signer != "" {
		t.Fatalf("signer %q, %v", signer, err)
	}
	if n := certificates(t, e.run.file(TrustFile)); n != 2 {
		t.Errorf("Envoy has %d roots", n)
	}
	if _, err := e.followRoots(bounded(t)); err == nil {
		t.Error("the file has not changed again, and nobody was there to ask")
	}
}
