package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var (
	client  = mesh.Name{Namespace: "shop", Name: "buyer-1.vm"}
	account = mesh.Name{Namespace: "shop", Name: "buyer"}
	buyer   = Identity{ServiceAccount: account, Workload: client, Kind: KindWorkload}
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func leafOf(t testing.TB, chain []byte) *x509.Certificate {
	t.Helper()
	all, err := parseBundle(chain)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestLeaf(t *testing.T) {
	a, clock := open(t)
	issued, err := a.Issue(newKey(t).Public(), buyer, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, issued.Chain)
	now := clock.now()
	if d := now.Sub(leaf.NotBefore); d < backdate || d > backdate+time.Second {
		t.Errorf("backdated by %v", d)
	}
	if d := leaf.NotAfter.Sub(now); d > time.Hour || d < time.Hour-time.Second || !issued.Expires.Equal(leaf.NotAfter) {
		t.Errorf("lives for %v, said %v", d, issued.Expires)
	}
	if leaf.IsCA || !leaf.BasicConstraintsValid || leaf.Subject.CommonName != "" || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %v, subject %v, usage %v", leaf.IsCA, leaf.Subject, leaf.KeyUsage)
	}
	if len(leaf.ExtKeyUsage) != 2 {
		t.Errorf("extended usage %v", leaf.ExtKeyUsage)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://mesh.test/ns/shop/sa/buyer" {
		t.Errorf("URIs %v", leaf.URIs)
	}
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != "buyer-1.vm.workload.shop.peer.wasmesh.internal" {
		t.Errorf("DNS names %v", leaf.DNSNames)
	}
	if bits := leaf.SerialNumber.BitLen(); bits < 64 || bits > 127 {
		t.Errorf("serial of %d bits", bits)
	}
	signer := a.roots.Load().signer
	if root, err := verifyChain([]*x509.Certificate{leaf}, []*x509.Certificate{signer}, x509.ExtKeyUsageServerAuth, now); err != nil || root[len(root)-1] != signer {
		t.Errorf("verify: %v, %v", root, err)
	}
	if got, err := PeerIdentity(leaf, testDomain); err != nil || got != buyer {
		t.Errorf("identity %v, %v", got, err)
	}
	if _, err := PeerIdentity(leaf, "other.test"); err == nil {
		t.Error("a leaf of another trust domain has an identity")
	}
}

func TestNoLeafOutlivesTheRoot(t *testing.T) {
	a, clock := open(t)
	clock.advance(RootLifetime - time.Hour)
	issued, err := a.Issue(newKey(t).Public(), buyer, 0)
	if err != nil || !issued.Expires.Equal(a.roots.Load().signer.NotAfter) {
		t.Fatalf("expires %v, root %v, %v", issued.Expires, a.roots.Load().signer.NotAfter, err)
	}
	clock.advance(2 * time.Hour)
	if _, err := a.Issue(newKey(t).Public(), buyer, 0); err == nil {
		t.Fatal("an expired root issued")
	}
}

func TestOnlyP256IsCertified(t *testing.T) {
	a, _ := open(t)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for _, key := range []crypto.Signer{p384, weak, ed} {
		if _, err := a.Issue(key.Public(), buyer, 0); err == nil {
			t.Errorf("%T was certified", key)
		}
		if _, err := ParseRequest(request(t, key, x509.CertificateRequest{})); err == nil {
			t.Errorf("a request with %T was accepted", key)
		}
	}
}

func TestIdentitiesThatAreNotIssued(t *testing.T) {
	a, _ := open(t)
	key := newKey(t).Public()
	system := mesh.Name{Namespace: ControlPlane.Namespace, Name: "thief"}
	for name, id := range map[string]Identity{
		"the control plane's": {ServiceAccount: ControlPlane, Workload: system, Kind: KindWorkload},
		"another namespace's": {ServiceAccount: mesh.Name{Namespace: "bank", Name: "buyer"}, Workload: client, Kind: KindWorkload},
		"slash":               {ServiceAccount: mesh.Name{Namespace: "shop", Name: "a/sa/b"}, Workload: client, Kind: KindWorkload},
		"empty account":       {ServiceAccount: mesh.Name{Namespace: "shop"}, Workload: client, Kind: KindWorkload},
		"kind with a dot":     {ServiceAccount: account, Workload: client, Kind: "a.b"},
		"upper case":          {ServiceAccount: account, Workload: mesh.Name{Namespace: "shop", Name: "Buyer"}, Kind: KindWorkload},
		"too long":            {ServiceAccount: account, Workload: mesh.Name{Namespace: "shop", Name: strings.Repeat("a.", 110) + "a"}, Kind: KindWorkload},
	} {
		if _, err := a.Issue(key, id, 0); err == nil {
			t.Errorf("%s: issued %v", name, id)
		}
	}
	if _, err := a.Issue(key, buyer, DefaultLeafLifetime+1); err == nil {
		t.Error("issued for longer than the authority allows")
	}
}

// A request may ask for anything; only its key counts.
func TestGreedyRequest(t *testing.T) {
	a, _ := open(t)
	thief, _ := url.Parse("spiffe://mesh.test/ns/wasmesh-system/sa/controlplane")
	csr := request(t, newKey(t), x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root"}, URIs: []*url.URL{thief}, DNSNames: []string{"bank.example"}, IPAddresses: []net.IP{net.IPv4zero},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}},
	})
	key, err := ParseRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.Issue(key, buyer, 0)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, issued.Chain)
	if got, err := PeerIdentity(leaf, testDomain); err != nil || got != buyer || leaf.IsCA || leaf.Subject.CommonName != "" {
		t.Fatalf("got %v %v, CA %v, subject %v", got, err, leaf.IsCA, leaf.Subject)
	}
}

func TestForgedRequest(t *testing.T) {
	block, _ := pem.Decode(request(t, newKey(t), x509.CertificateRequest{}))
	block.Bytes[len(block.Bytes)-1] ^= 1
	for _, csr := range [][]byte{nil, []byte("x"), pem.EncodeToMemory(block), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})} {
		if _, err := ParseRequest(csr); err == nil {
			t.Errorf("accepted %.60q", csr)
		}
	}
}

func TestServingCertificateIsNoWorkload(t *testing.T) {
	a, _ := open(t)
	c, err := a.ServingCertificate([]string{"127.0.0.1", "controlplane.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PeerIdentity(c.Leaf, testDomain); err == nil {
		t.Error("the control plane's leaf passes for a workload")
	}
	if err := c.Leaf.VerifyHostname("controlplane.example"); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"a.workload.b" + labelSuffix, "", "a b", "*.example"} {
		if _, err := a.ServingCertificate([]string{host}); err == nil {
			t.Errorf("host %q was accepted", host)
		}
	}
}
