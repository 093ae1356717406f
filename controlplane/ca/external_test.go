package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issuer is an authority that is not ours.
type issuer struct {
	root *x509.Certificate
	key  crypto.Signer
}

func newIssuer(t *testing.T, change func(*x509.Certificate)) *issuer {
	t.Helper()
	template := authority("company root")
	if change != nil {
		change(template)
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root, err := certify(template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{root, key}
}

func authority(name string) *x509.Certificate {
	number, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

// intermediate is what cert-manager is asked for: isCA, and the trust domain.
func intermediate(change func(*x509.Certificate)) *x509.Certificate {
	c := authority("mesh intermediate")
	c.URIs = []*url.URL{{Scheme: "spiffe", Host: testDomain}}
	if change != nil {
		change(c)
	}
	return c
}

// write issues an intermediate, and writes the three files.
func (i *issuer) write(t *testing.T, dir string, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c, err := certify(template, i.root, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		externalChain: {Type: "CERTIFICATE", Bytes: c.Raw}, externalKey: {Type: "PRIVATE KEY", Bytes: secret}, externalRoots: {Type: "CERTIFICATE", Bytes: i.root.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func openExternal(t *testing.T, dir string, p *platform) (*Authority, error) {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, External: dir, Attest: p.attest})
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// An intermediate of whichever usual key signs, members trust its root alone, and
// leaves carry it; a renewed one is taken up, with leaves of the old one in force.
func TestExternalIntermediate(t *testing.T) {
	constrained := func(c *x509.Certificate) {
		c.URIs, c.PermittedURIDomains = nil, []string{testDomain}
		c.PermittedDNSDomains, c.MaxPathLenZero = []string{"peer.wasmesh.internal"}, true
	}
	for name, c := range map[string]struct {
		key    crypto.Signer
		change func(*x509.Certificate)
	}{"URI": {newKey(t), nil}, "RSA": {rsaKey(t), nil}, "constraints": {newKey(t), constrained}} {
		dir := t.TempDir()
		i := newIssuer(t, nil)
		i.write(t, dir, intermediate(c.change), c.key)
		p := &platform{pods: map[string]bool{"web-0": true}}
		a, err := openExternal(t, dir, p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		base, _ := serve(t, a, known)
		roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.root.Raw})
		m, err := at(base).Attest(context.Background(), "pod:web-0", roots, csr(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(m.TrustBundle, roots) || m.TrustDomain != testDomain || bytes.Count(m.Certificates, []byte("BEGIN")) != 2 || m.Signer != a.Fingerprint() {
			t.Errorf("%s: %d certificates, trust domain %s", name, bytes.Count(m.Certificates, []byte("BEGIN")), m.TrustDomain)
		}
		i.write(t, dir, intermediate(c.change), newKey(t))
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		renewed, err := at(base).Attest(context.Background(), "pod:web-0", m.TrustBundle, csr(t))
		if err != nil || leafOf(t, renewed.Certificates).Issuer.String() == "" || bytes.Equal(renewed.Certificates, m.Certificates) {
			t.Errorf("%s: after the renewal: %v", name, err)
		}
		old, _ := parseBundle(m.Certificates)
		if _, err := verifyChain(old, a.roots.Load().trusted(), x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
			t.Errorf("%s: leaves of the old intermediate end with it: %v", name, err)
		}
		if _, err := a.Rotate(Start, true); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: a rotation of somebody else's root: %v", name, err)
		}
	}
}

// What cannot work is told with its cause before anybody has a leaf of it.
func TestExternalIsValidated(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type template = x509.Certificate
	for name, c := range map[string]struct {
		want   string
		root   func(*template)
		change func(*template)
		key    crypto.Signer
	}{
		"no authority":    {want: "isCA", change: func(c *template) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature }},
		"no signing":      {want: "cert sign", change: func(c *template) { c.KeyUsage = x509.KeyUsageDigitalSignature }},
		"expired":         {want: "it is", change: func(c *template) { c.NotAfter = time.Now().Add(-time.Minute) }},
		"no trust domain": {want: "names the trust domain", change: func(c *template) { c.URIs = nil }},
		"another":         {want: "other.test", change: func(c *template) { c.URIs[0].Host = "other.test" }},
		"path length":     {want: "path length constraint", root: func(c *template) { c.MaxPathLen, c.MaxPathLenZero = 0, true }},
		"server only":     {want: "usages", change: func(c *template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }},
		"URI constraint":  {want: "constraints", change: func(c *template) { c.PermittedURIDomains = []string{"other.test"} }},
		"DNS constraint":  {want: "constraints", change: func(c *template) { c.PermittedDNSDomains = []string{"example.org"} }},
		"kind of key":     {want: "ECDSA", key: edKey},
	} {
		dir := t.TempDir()
		key := c.key
		if key == nil {
			key = newKey(t)
		}
		newIssuer(t, c.root).write(t, dir, intermediate(c.change), key)
		if _, err := openExternal(t, dir, &platform{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	newIssuer(t, nil).write(t, dir, intermediate(nil), newKey(t))
	a, err := openExternal(t, dir, &platform{})
	if err != nil {
		t.Fatal(err)
	}
	signer := a.roots.Load().signer
	if err := os.WriteFile(filepath.Join(dir, externalKey), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil || a.roots.Load().signer != signer {
		t.Errorf("files that are being replaced: %v", err)
	}
}

// The authority above replaces its root from one moment to the next. Members come
// to trust the new one before it signs, and the old one until its leaves have ended.
func TestExternalRootIsReplaced(t *testing.T) {
	dir, c := t.TempDir(), &clock{t: time.Now()}
	old, next := newIssuer(t, nil), newIssuer(t, nil)
	old.write(t, dir, intermediate(nil), newKey(t))
	a, err := Open(filepath.Join(t.TempDir(), "state"), Options{External: dir, Now: c.now, LeafLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	state := func(signs *issuer, trusts ...*issuer) {
		t.Helper()
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		trusted := a.roots.Load().trusted()
		ok := len(trusted) == len(trusts) && a.Fingerprint() == fingerprint(signs.root.Raw)
		for _, i := range trusts {
			ok = ok && has(trusted, i.root)
		}
		if !ok {
			t.Fatalf("%d roots are trusted, want %d; or the wrong one signs", len(trusted), len(trusts))
		}
		leaf, err := a.Issue(newKey(t).Public(), buyer, 0)
		if err != nil {
			t.Fatal(err)
		}
		chain, _ := parseBundle(leaf.Chain)
		if _, err := verifyChain(chain, []*x509.Certificate{signs.root}, x509.ExtKeyUsageClientAuth, c.now()); err != nil {
			t.Fatal(err)
		}
	}
	state(old, old)
	next.write(t, dir, intermediate(nil), newKey(t))
	state(old, old, next)
	c.advance(settleTime - time.Second)
	state(old, old, next)
	c.advance(time.Second)
	state(next, old, next)
	c.advance(time.Hour - time.Second)
	state(next, old, next)
	c.advance(time.Second)
	state(next, next)
	// The intermediate of before must not sign beyond its own end.
	third := newIssuer(t, nil)
	short := func(x *x509.Certificate) { x.NotAfter = c.now().Add(time.Minute) }
	next.write(t, dir, intermediate(short), newKey(t))
	state(next, next)
	third.write(t, dir, intermediate(nil), newKey(t))
	state(next, next, third)
	c.advance(time.Minute)
	state(third, next, third)
}
