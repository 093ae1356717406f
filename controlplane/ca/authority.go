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
//	root.pem                     who signs and who is trusted: certificates and keys in one file
//	tokens/<id>.json             a join token that may still be used
//	tokens/used/<id>.json        one that was used
//	workloads/<ns>_<name>.json   a workload's renewal credential
//
// Each token and credential is a file of its own, so that a command can add or
// remove one beside a running control plane. Removing a file revokes.
package ca

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// RootLifetime is ten years: replacing a root means touching every workload,
	// and what limits the damage of a stolen leaf is the leaf's own lifetime.
	RootLifetime = 10 * 365 * 24 * time.Hour
	// DefaultLeafLifetime is twice the outage of the control plane that the mesh
	// survives, because leaves are renewed at half of their life.
	DefaultLeafLifetime = 24 * time.Hour
	// minLeafLifetime leaves a sidecar the time to renew: a life is counted in
	// seconds.
	minLeafLifetime = 10 * time.Second
)

// Options are what Open needs to know.
type Options struct {
	// TrustDomain is part of every identity, and fixed in the root. Empty means
	// that of the root that is there.
	TrustDomain string
	// LeafLifetime is the longest and the usual life of a leaf;
	// DefaultLeafLifetime if zero.
	LeafLifetime time.Duration
	// Roots keep who signs and who is trusted; nil: a file in the folder.
	Roots Store
	// External is a folder with an intermediate authority and its key, as
	// cert-manager writes it (tls.crt, tls.key, ca.crt); it signs then, and Roots are
	// not used. Empty: the mesh has a root of its own.
	External string
	// AlsoTrust is a file of PEM roots that members trust besides, read anew as
	// External is: with it a mesh goes from one authority to another without an
	// interruption. Empty: none.
	AlsoTrust string
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Attest says whose the tokens of the platform are; nil: there is no platform,
	// and nobody joins that way.
	Attest Attest
	// Pods are those with a sidecar, of which a rotation waits for each; nil:
	// there are none.
	Pods func() []mesh.Name
}

// Authority issues the mesh's certificates. It is safe for concurrent use.
type Authority struct {
	dir          string
	store        Store
	external     string // folder
	alsoTrust    string // file
	trustDomain  string
	leafLifetime time.Duration
	now          func() time.Time
	attest       Attest
	pods         func() []mesh.Name

	// roots are replaced as a whole by a step of a rotation.
	roots atomic.Pointer[roots]

	// mu orders, within this process, the uses of renewal credentials, the steps of
	// rotations and what sidecars say they hold.
	mu         sync.Mutex
	succession succession
	// kept is what the store held when roots were read from it.
	kept []byte
	// unread is why that failed the last time; nil if it did not.
	unread   error
	holdings map[holder]Holding
}

// Open loads the authority kept in dir, or founds it there. Two processes that
// found one at the same moment agree on the same root.
func Open(dir string, o Options) (*Authority, error) {
	a := &Authority{dir: dir, leafLifetime: o.LeafLifetime, now: o.Now, attest: o.Attest, pods: o.Pods, store: o.Roots, external: o.External, alsoTrust: o.AlsoTrust, holdings: map[holder]Holding{}}
	if a.store == nil {
		a.store = fileStore{a.rootPath()}
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.leafLifetime == 0 {
		a.leafLifetime = DefaultLeafLifetime
	}
	if a.leafLifetime < minLeafLifetime || a.leafLifetime > RootLifetime/2 {
		return nil, fmt.Errorf("leaf lifetime %v is out of bounds; choose between %v and %v", a.leafLifetime, minLeafLifetime, RootLifetime/2)
	}
	for _, d := range []string{dir, filepath.Join(dir, "tokens"), filepath.Join(dir, "tokens", "used"), filepath.Join(dir, "workloads")} {
		if err := durable.Dir(d); err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
	}
	err := a.load()
	if errors.Is(err, fs.ErrNotExist) && a.external == "" {
		if err = a.found(o.TrustDomain); err == nil || errors.Is(err, fs.ErrExist) {
			err = a.load()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if o.TrustDomain != "" && o.TrustDomain != a.trustDomain {
		return nil, fmt.Errorf("the root in %s is for trust domain %q, not %q; use another folder (or Secret) for another mesh", a.origin(), a.trustDomain, o.TrustDomain)
	}
	return a, nil
}

func (a *Authority) found(trustDomain string) error {
	if trustDomain == "" {
		return fmt.Errorf("there is no root in %s yet; start the control plane once, or give a trust domain", a.store)
	}
	if err := validTrustDomain(trustDomain); err != nil {
		return err
	}
	root, key, err := newRoot(trustDomain, a.now())
	if err != nil {
		return err
	}
	data, err := (&roots{signer: root, key: key}).pem()
	if err != nil {
		return err
	}
	return a.store.Create(data)
}

// origin says where who signs comes from.
func (a *Authority) origin() string {
	if a.external != "" {
		return a.external
	}
	return a.store.String()
}

func (a *Authority) rootPath() string { return filepath.Join(a.dir, "root.pem") }

func (a *Authority) load() error {
	var r *roots
	var data []byte
	var trustDomain string
	var err error
	if a.external != "" {
		if r, trustDomain, err = loadExternal(a.external, a.now()); err == nil {
			r = a.succession.adopt(a.roots.Load(), r, a.now(), a.leafLifetime)
		}
	} else {
		r, data, trustDomain, err = loadOwn(a.store, a.now())
	}
	if err != nil {
		return err
	}
	if r, err = r.alsoTrust(a.alsoTrust); err != nil {
		return err
	}
	before := a.roots.Load()
	if before != nil && trustDomain != a.trustDomain {
		return fmt.Errorf("%s is for trust domain %q now, and this mesh is %q; bring back what was there", a.origin(), trustDomain, a.trustDomain)
	}
	a.kept = data
	if before == nil {
		a.trustDomain = trustDomain
	}
	if !r.same(before) {
		a.roots.Store(r)
	}
	return nil
}

func loadOwn(store Store, now time.Time) (r *roots, data []byte, trustDomain string, err error) {
	if data, err = store.Load(); err != nil {
		return nil, nil, "", err
	}
	if r, err = parseRoots(data, now); err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w; restore it from a backup, or move it away to found a new mesh", store, err)
	}
	if !now.Before(r.signer.NotAfter) {
		return nil, nil, "", fmt.Errorf("the root in %s expired on %s; move it away to found a new mesh", store, r.signer.NotAfter.UTC().Format(time.DateOnly))
	}
	trustDomain, err = trustDomainOf([]*x509.Certificate{r.signer})
	return r, data, trustDomain, err
}

// TrustDomain returns the trust domain of every identity that a issues.
func (a *Authority) TrustDomain() string { return a.trustDomain }

// TrustBundle returns the PEM certificates that members of the mesh trust: one,
// or two while a rotation is under way.
func (a *Authority) TrustBundle() []byte {
	var out []byte
	for _, root := range a.roots.Load().trusted() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return out
}

// SignerEnd is when the certificate that signs all others ends.
func (a *Authority) SignerEnd() time.Time { return a.roots.Load().signer.NotAfter }

// Fingerprint returns the SHA-256 of the root that signs, or that the signer leads
// to, as a join token carries it.
func (a *Authority) Fingerprint() string { return fingerprint(a.roots.Load().anchor().Raw) }

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
