package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// The files of an intermediate authority, named as cert-manager names them.
const (
	externalChain = "tls.crt" // the intermediate first, then what leads to a root
	externalKey   = "tls.key"
	externalRoots = "ca.crt" // whom members trust
)

// external is the authority above an intermediate that signs here.
type external struct {
	// anchors are the roots that members trust.
	anchors []*x509.Certificate
	// anchor is the one of them that the signer leads to.
	anchor *x509.Certificate
	// chain leads from the signer, which it begins with, to the anchor, which it
	// does not have. Leaves carry it.
	chain [][]byte
}

// loadExternal reads the three files. While they are being replaced they may not
// fit each other; then it is an error, and the next try succeeds.
func loadExternal(dir string, now time.Time) (r *roots, trustDomain string, err error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, externalChain), filepath.Join(dir, externalKey))
	if err != nil {
		return nil, "", fmt.Errorf("%s and %s: %w", externalChain, externalKey, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, externalRoots))
	if err != nil {
		return nil, "", err
	}
	anchors, err := parseBundle(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", externalRoots, err)
	}
	if len(anchors) > maxEarlier {
		return nil, "", fmt.Errorf("%s holds %d roots, and %d at most can be trusted at a time", externalRoots, len(anchors), maxEarlier)
	}
	chain, err := parseChain(pair.Certificate)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", externalChain, err)
	}
	key, err := signingKey(pair.PrivateKey)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", externalKey, err)
	}
	if err := maySign(chain[0], now); err != nil {
		return nil, "", fmt.Errorf("%s: %w", externalChain, err)
	}
	path, err := verifyChain(chain, anchors, x509.ExtKeyUsageAny, now)
	if err != nil {
		return nil, "", fmt.Errorf("%s does not lead to a root in %s: %w", externalChain, externalRoots, err)
	}
	if trustDomain, err = trustDomainOf(path); err != nil {
		return nil, "", fmt.Errorf("%s: %w", externalChain, err)
	}
	e := &external{anchors: anchors, anchor: path[len(path)-1]}
	for _, c := range path[:len(path)-1] {
		e.chain = append(e.chain, c.Raw)
	}
	r = &roots{signer: chain[0], key: key, external: e}
	return r, trustDomain, r.try(trustDomain, now)
}

func parseChain(der [][]byte) (chain []*x509.Certificate, err error) {
	for _, raw := range der {
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// signingKey accepts the kinds whose signatures every Envoy verifies.
func signingKey(key crypto.PrivateKey) (crypto.Signer, error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return k, nil
		}
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return k, nil
		}
	}
	return nil, errors.New("the key must be ECDSA on P-256 or P-384, or RSA of 2048 bits or more")
}

// maySign says in words what is missing; that a verifier agrees, try finds out.
func maySign(c *x509.Certificate, now time.Time) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("the certificate is not one of an authority; issue it with isCA: true")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("the certificate may not sign others; issue it with the usage \"cert sign\"")
	case now.Before(c.NotBefore) || !now.Before(c.NotAfter):
		return fmt.Errorf("the certificate is good from %s to %s, and it is %s now", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// try issues a leaf as a workload gets it, and verifies it as its peers would: path lengths, usages and constraints
// of names anywhere in the chain show here and not in the mesh.
func (r *roots) try(trustDomain string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	workload := mesh.Name{Namespace: "default", Name: "trial"}
	label, err := Label(workload, KindPod)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		DNSNames: []string{label}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := r.sign(template, key.Public(), mesh.SPIFFEID(trustDomain, workload), now, minLeafLifetime)
	if err != nil {
		return err
	}
	chain, err := parseChain(append([][]byte{der}, r.external.chain...))
	if err != nil {
		return err
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := verifyChain(chain, r.external.anchors, usage, now); err != nil {
			return fmt.Errorf("the intermediate cannot be used: nobody would accept what it issues, such as %s with the name %s: %w; look at its path length, its usages and its constraints of names", template.URIs[0], label, err)
		}
	}
	return nil
}

// anchor is the root that the signer leads to.
func (r *roots) anchor() *x509.Certificate {
	if r.external != nil {
		return r.external.anchor
	}
	return r.signer
}

// chain is what a leaf carries beside itself, towards those who know the roots.
func (r *roots) chain() [][]byte {
	if r.external != nil {
		return r.external.chain
	}
	return nil
}

// same reports whether the two sign and trust alike.
func (r *roots) same(other *roots) bool {
	if other == nil || (r.external == nil) != (other.external == nil) || !r.signer.Equal(other.signer) {
		return false
	}
	equal := func(a, b *x509.Certificate) bool { return a.Equal(b) }
	return slices.EqualFunc(r.trusted(), other.trusted(), equal) && slices.EqualFunc(r.chain(), other.chain(), bytes.Equal)
}
