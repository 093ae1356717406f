// Package ca is the mesh's certificate authority and the protocol by which a
// workload joins: a one-time token buys the first certificate and a renewal
// credential, the credential buys every later one.
//
// What a certificate says follows only from what the caller proved; of a
// signing request nothing but the public key is used. The package must never
// see a workload's private key, never store or log a secret in readable form,
// and never tell a stranger why it refused.
//
// The state folder, all of it readable by its owner only:
//
//	root.pem                     the root: certificate and key in one file
//	tokens/<id>.json             a join token that may still be used
//	tokens/used/<id>.json        one that was used
//	workloads/<ns>_<name>.json   a workload's renewal credential
//
// Each token and credential is a file of its own, so that a command can add or
// remove one beside a running control plane. Removing a file revokes.
package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
)

const (
	// RootLifetime is ten years: replacing a root means touching every workload,
	// and what limits the damage of a stolen leaf is the leaf's own lifetime.
	RootLifetime = 10 * 365 * 24 * time.Hour
	// DefaultLeafLifetime is twice the outage of the control plane that the mesh
	// survives, because leaves are renewed at half of their life.
	DefaultLeafLifetime = 24 * time.Hour
	// backdate forgives clocks that are behind ours.
	backdate = 5 * time.Minute
)

// Options are what Open needs to know.
type Options struct {
	// TrustDomain is part of every identity, and fixed in the root. Empty means
	// that of the root that is there.
	TrustDomain string
	// LeafLifetime is the longest and the usual life of a leaf;
	// DefaultLeafLifetime if zero.
	LeafLifetime time.Duration
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Authority issues the mesh's certificates. It is safe for concurrent use.
type Authority struct {
	dir          string
	trustDomain  string
	leafLifetime time.Duration
	now          func() time.Time

	root    *x509.Certificate
	rootPEM []byte
	key     *ecdsa.PrivateKey

	// mu orders the uses of renewal credentials within this process.
	mu sync.Mutex
}

// Open loads the authority kept in dir, or founds it there. Two processes that
// found one at the same moment agree on the same root.
func Open(dir string, o Options) (*Authority, error) {
	a := &Authority{dir: dir, leafLifetime: o.LeafLifetime, now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	if a.leafLifetime == 0 {
		a.leafLifetime = DefaultLeafLifetime
	}
	if a.leafLifetime < time.Minute || a.leafLifetime > RootLifetime/2 {
		return nil, fmt.Errorf("leaf lifetime %v is out of bounds; choose between 1m and %v", a.leafLifetime, RootLifetime/2)
	}
	for _, d := range []string{dir, filepath.Join(dir, "tokens"), filepath.Join(dir, "tokens", "used"), filepath.Join(dir, "workloads")} {
		if err := durable.Dir(d); err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
	}
	path := filepath.Join(dir, "root.pem")
	err := a.load(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = a.found(path, o.TrustDomain); err == nil || errors.Is(err, fs.ErrExist) {
			err = a.load(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if o.TrustDomain != "" && o.TrustDomain != a.trustDomain {
		return nil, fmt.Errorf("the root in %s is for trust domain %q, not %q; use another folder for another mesh", path, a.trustDomain, o.TrustDomain)
	}
	return a, nil
}

func (a *Authority) found(path, trustDomain string) error {
	if trustDomain == "" {
		return fmt.Errorf("there is no root in %s yet; start the control plane once, or give a trust domain", a.dir)
	}
	if err := validTrustDomain(trustDomain); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "wasmesh root " + now.UTC().Format("2006-01-02")},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(RootLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// One file for both: there is no moment at which only one of them exists.
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	staged, err := durable.Stage(path, out.Bytes())
	if err != nil {
		return err
	}
	return staged.Create()
}

func (a *Authority) load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	a.root, a.key, err = parseRoot(data)
	if err != nil {
		return fmt.Errorf("%s: %w; restore it from a backup, or move it away to found a new mesh", path, err)
	}
	a.trustDomain = a.root.URIs[0].Host
	a.rootPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
	if !a.now().Before(a.root.NotAfter) {
		return fmt.Errorf("the root in %s expired on %s; move it away to found a new mesh", path, a.root.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

func parseRoot(data []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certificate, rest := pem.Decode(data)
	secret, _ := pem.Decode(rest)
	if certificate == nil || secret == nil {
		return nil, nil, errors.New("does not hold a certificate and a key")
	}
	root, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(secret.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(root.PublicKey) {
		return nil, nil, errors.New("the key is not that of the certificate")
	}
	if !root.IsCA {
		return nil, nil, errors.New("the certificate is not one of an authority")
	}
	_, err = trustDomainOf(root)
	return root, key, err
}

// TrustDomain returns the trust domain of every identity that a issues.
func (a *Authority) TrustDomain() string { return a.trustDomain }

// TrustBundle returns the PEM certificates that members of the mesh trust.
func (a *Authority) TrustBundle() []byte { return bytes.Clone(a.rootPEM) }

// RootExpires returns when the root, and with it everything, ends.
func (a *Authority) RootExpires() time.Time { return a.root.NotAfter }

// Fingerprint returns the SHA-256 of the root as a join token carries it.
func (a *Authority) Fingerprint() string { return fingerprint(a.root.Raw) }

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// serial returns 128 random bits; the first is never set, as serials are signed.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
