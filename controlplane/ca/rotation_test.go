package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// reopen is a restart of the control plane.
func reopen(t *testing.T, a *Authority) *Authority {
	t.Helper()
	b, err := Open(a.dir, Options{Now: a.now, LeafLifetime: a.leafLifetime})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rotate(t *testing.T, a *Authority, step Step) Rotation {
	t.Helper()
	r, err := a.Rotate(step, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// note is what a sidecar tells that has taken up everything.
func note(t *testing.T, base string, m Membership) {
	t.Helper()
	trusts, err := Fingerprints(m.TrustBundle)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := at(base).Roots(context.Background(), m, Holding{Trusts: trusts, Signer: m.Signer}); err != nil {
		t.Fatal(err)
	}
}

// The state of every step survives a restart, and no step is made twice, early
// or out of order.
func TestRotationStepByStep(t *testing.T) {
	a, _ := open(t)
	first := a.Fingerprint()
	for i, step := range []Step{Start, Switch, Finish} {
		before := a.Fingerprint()
		for _, wrong := range []Step{Start, Switch, Finish, "", "back"} {
			if _, err := a.Rotate(wrong, true); wrong != step && err == nil {
				t.Fatalf("%q was made instead of %q", wrong, step)
			}
			if wrong == step {
				break
			}
		}
		if a.roots.Load().last() != step {
			rotate(t, a, step)
		}
		if changed := a.Fingerprint() != before; changed != (step == Switch) {
			t.Errorf("after %s another root signs: %v", step, changed)
		}
		b := reopen(t, a)
		if b.Fingerprint() != a.Fingerprint() || !bytes.Equal(b.TrustBundle(), a.TrustBundle()) || b.roots.Load().last() != step {
			t.Errorf("%s did not survive a restart", step)
		}
		if trusted, _ := Fingerprints(b.TrustBundle()); len(trusted) != []int{2, 2, 1}[i] {
			t.Errorf("after %s %d roots are trusted", step, len(trusted))
		}
		a = b
	}
	data, err := os.ReadFile(a.rootPath())
	if err != nil || bytes.Count(data, []byte("PRIVATE KEY-----\n")) != 2 {
		t.Errorf("the old root's key is still there: %v", err)
	}
	if a.Fingerprint() == first || a.TrustDomain() != testDomain {
		t.Error("nothing was rotated, or another trust domain came out")
	}
}

// A step waits for every workload that it would cut off.
func TestRotationWaits(t *testing.T) {
	a, clock := open(t)
	base, _ := serve(t, a, known)
	ctx := context.Background()
	m, err := at(base).Join(ctx, token(t, a), csr(t))
	if err != nil {
		t.Fatal(err)
	}
	note(t, base, m)
	rotate(t, a, Start)
	waits := func(a *Authority, step Step, cause string) {
		t.Helper()
		r, err := a.Rotate(step, false)
		if !errors.Is(err, ErrNotYet) || len(r.Waiting) != 1 || r.Waiting[0].Workload != client || !strings.Contains(r.Waiting[0].Cause, cause) {
			t.Errorf("%s: %v, %v", step, r.Waiting, err)
		}
	}
	waits(a, Switch, "does not trust the new root")
	waits(reopen(t, a), Switch, "has not told")
	if m.TrustBundle, _, err = at(base).Roots(ctx, m, Holding{}); err != nil {
		t.Fatal(err)
	}
	waits(a, Switch, "has not told") // the sidecar has the roots, its Envoy has not
	note(t, base, m)
	rotate(t, a, Switch)
	waits(a, Finish, "certificate of the old root")
	renewed, err := at(base).Renew(ctx, m, csr(t))
	if err != nil || renewed.Signer != a.Fingerprint() || m.Signer == renewed.Signer {
		t.Fatalf("renewed by %s: %v", renewed.Signer, err)
	}
	waits(a, Finish, "certificate of the old root")
	note(t, base, renewed)
	rotate(t, a, Finish)

	// Who is off is not waited for longer than its certificate lives, nor who was
	// revoked.
	rotate(t, a, Start)
	waits(a, Switch, "does not trust")
	clock.advance(DefaultLeafLifetime)
	rotate(t, a, Switch)
	if _, err := (Client{URL: base, Now: clock.now}).Renew(ctx, renewed, csr(t)); err != nil {
		t.Fatal(err)
	}
	waits(a, Finish, "old root")
	if _, err := a.Revoke(client); err != nil {
		t.Fatal(err)
	}
	rotate(t, a, Finish)
}

// Nobody but the workload says what it holds.
func TestHoldingNeedsTheCredential(t *testing.T) {
	a, _ := open(t)
	base, _ := serve(t, a, known)
	m, err := at(base).Join(context.Background(), token(t, a), csr(t))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 44)
	for _, holds := range []Holding{{Signer: long}, {Trusts: []string{long}}, {Trusts: make([]string, maxEarlier+1)}} {
		if _, _, err := at(base).Roots(context.Background(), m, holds); !errors.Is(err, ErrRefused) {
			t.Errorf("%v is kept: %v", holds, err)
		}
	}
	m.Renewal = newSecret()
	if _, _, err := at(base).Roots(context.Background(), m, Holding{Signer: "x"}); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if len(a.holdings) != 0 {
		t.Error("it was believed")
	}
}

// A token and a sleeper that know only a root of before are led to the one of
// now, through every step and two whole rotations.
func TestOldPinsLead(t *testing.T) {
	a, _ := open(t)
	lookup := func(n mesh.Name) (mesh.Name, bool) { return account, n.Namespace == client.Namespace }
	base, _ := serve(t, a, lookup)
	ctx := context.Background()
	sleeper, err := at(base).Join(ctx, token(t, a), csr(t))
	if err != nil {
		t.Fatal(err)
	}
	steps := []Step{Start, Switch, Finish, Start, Switch, Finish}
	var old []string
	for i := range steps {
		text, err := a.CreateToken(mesh.Name{Namespace: client.Namespace, Name: "w" + string(rune('a'+i))}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, text)
	}
	for i, step := range steps {
		if _, err := a.Rotate(step, true); err != nil {
			t.Fatal(err)
		}
		m, err := at(base).Join(ctx, old[i], csr(t))
		if err != nil {
			t.Fatalf("after %s: %v", step, err)
		}
		if trusted, _ := Fingerprints(m.TrustBundle); m.Signer != a.Fingerprint() || step == Finish && len(trusted) != 1 {
			t.Errorf("after %s: %d roots, signed by %s", step, len(trusted), m.Signer)
		}
	}
	if _, err := at(base).Renew(ctx, sleeper, csr(t)); err != nil {
		t.Errorf("who slept through it all is locked out: %v", err)
	}
}

// A bridge ends, and with it what it led to.
func TestBridgeEnds(t *testing.T) {
	a, clock := open(t)
	text := token(t, a)
	for _, step := range []Step{Start, Switch, Finish} {
		rotate(t, a, step)
	}
	clock.advance(bridgeLifetime + time.Hour)
	b := reopen(t, a)
	if n := len(b.roots.Load().earlier); n != 0 {
		t.Errorf("%d earlier roots are left", n)
	}
	_, _, err := b.Redeem(text, admitAll)
	wantRefusal(t, err, "another root")
}

// The leaf of the dropped root is refused by the control plane at once.
func TestDroppedRootIsNotTrusted(t *testing.T) {
	a, _ := open(t)
	config, err := a.MutualTLS([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.Issue(newKey(t).Public(), buyer, 0)
	if err != nil {
		t.Fatal(err)
	}
	old := leafOf(t, issued.Chain)
	trusted := func() bool {
		current, err := config.GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = old.Verify(x509.VerifyOptions{Roots: current.ClientCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err == nil
	}
	for _, step := range []Step{Start, Switch, Finish} {
		if !trusted() {
			t.Errorf("not trusted before %s", step)
		}
		rotate(t, a, step)
	}
	if trusted() {
		t.Error("trusted after the end")
	}
	leaf, err := config.GetCertificate(nil)
	if err != nil || leaf.Leaf.Issuer.String() != a.roots.Load().signer.Subject.String() || len(leaf.Certificate) != 2 {
		t.Errorf("the control plane's own leaf: %v, %v", leaf.Leaf.Issuer, err)
	}
}

func TestDamagedRoots(t *testing.T) {
	a, _ := open(t)
	rotate(t, a, Start)
	whole, err := os.ReadFile(a.rootPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []int{0, 10, len(whole) / 2, len(whole) - 40} {
		if _, err := parseRoots(whole[:end], time.Now()); err == nil {
			t.Errorf("the first %d of %d bytes are taken for the whole", end, len(whole))
		}
	}
	if _, err := parseRoots(bytes.ReplaceAll(whole, []byte("Role: next"), []byte("Role: last")), time.Now()); err == nil {
		t.Error("an unknown role was accepted")
	}
}
