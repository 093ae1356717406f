package ca

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writePEM(t *testing.T, path string, roots ...*x509.Certificate) {
	t.Helper()
	var data []byte
	for _, root := range roots {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A mesh goes from a root of its own to an authority above: whoever is served by the
// control plane of before and whoever is by the one of after know each other, and
// both control planes.
func TestAlsoTrustLeadsToAnotherAuthority(t *testing.T) {
	dir, further := t.TempDir(), filepath.Join(t.TempDir(), "further.pem")
	company := newIssuer(t, nil)
	company.write(t, dir, intermediate(nil), newKey(t))
	writePEM(t, further, company.root)
	p := &platform{pods: map[string]bool{"web-0": true}}
	open := func(o Options) *Authority {
		t.Helper()
		o.TrustDomain, o.Attest = testDomain, p.attest
		a, err := Open(filepath.Join(t.TempDir(), "state"), o)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	before := open(Options{AlsoTrust: further})
	if r, err := before.Rotation(); err != nil || r.Last != Finish || len(r.Trusted) != 2 {
		t.Errorf("a further root looks like a rotation: %+v %v", r, err)
	}
	kept := filepath.Join(t.TempDir(), "kept.pem")
	writePEM(t, kept, before.roots.Load().signer)
	after := open(Options{External: dir, AlsoTrust: kept})
	var members []Membership
	for _, a := range []*Authority{before, after} {
		base, _ := serve(t, a, known)
		m, err := at(base).Attest(context.Background(), "pod:web-0", before.TrustBundle(), csr(t))
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	for _, one := range members {
		for _, other := range members {
			chain, _ := parseBundle(one.Certificates)
			roots, _ := parseBundle(other.TrustBundle)
			if _, err := verifyChain(chain, roots, x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
				t.Errorf("a member signed by %s is refused by one signed by %s: %v", one.Signer, other.Signer, err)
			}
		}
	}
	if members[0].Signer == members[1].Signer {
		t.Error("both are signed by the same")
	}
	// The last step: who signed before is forgotten.
	writePEM(t, kept, company.root)
	if err := after.Reload(); err != nil || len(after.roots.Load().trusted()) != 1 {
		t.Errorf("the former root is trusted still: %v", err)
	}
	// A further root is no way in for tokens: nothing leads from it to ours.
	if before.roots.Load().knows(fingerprint(company.root.Raw)) {
		t.Error("a token may name a further root")
	}
}

// Further roots outlive a rotation, and a file that cannot be used changes nothing.
func TestAlsoTrustIsReadAnew(t *testing.T) {
	further, state := filepath.Join(t.TempDir(), "further.pem"), filepath.Join(t.TempDir(), "state")
	company := newIssuer(t, nil)
	if _, err := Open(state, Options{TrustDomain: testDomain, AlsoTrust: further}); err == nil {
		t.Error("a file that is not there")
	}
	writePEM(t, further, company.root)
	a, err := Open(state, Options{TrustDomain: testDomain, AlsoTrust: further})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []Step{Start, Switch, Finish} {
		rotate(t, a, step)
		if n, want := len(a.roots.Load().trusted()), []int{3, 3, 2}[i]; n != want || !has(a.roots.Load().trusted(), company.root) {
			t.Errorf("after %s %d roots are trusted, want %d", step, n, want)
		}
	}
	many := []*x509.Certificate{company.root, newIssuer(t, nil).root, newIssuer(t, nil).root, newIssuer(t, nil).root}
	leaf, err := a.ServingCertificate([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for told, roots := range map[string][]*x509.Certificate{"at most": many, "not the certificate of an authority": {leaf.Leaf}, "no certificate": nil} {
		writePEM(t, further, roots...)
		if err := a.Reload(); err == nil || !strings.Contains(err.Error(), told) || !has(a.roots.Load().trusted(), company.root) {
			t.Errorf("%s: %v", told, err)
		}
	}
	writePEM(t, further, many[:3]...)
	if err := a.Reload(); err != nil || len(a.roots.Load().trusted()) != 4 {
		t.Errorf("three further roots: %v", err)
	}
}
