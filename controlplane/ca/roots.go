package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// roots are who signs and who is trusted, at one moment. A value is never
// changed: each step of a rotation makes a new one, and replaces the one file
// that holds all of it.
type roots struct {
	signer *x509.Certificate
	key    crypto.Signer
	// external is the authority above the signer; nil: the signer is a root. Then
	// nothing of what follows is there.
	external *external
	// next is trusted already and signs after the switch; nil outside of that.
	next    *x509.Certificate
	nextKey *ecdsa.PrivateKey
	// earlier are roots that signed before, the latest first.
	earlier []earlier
	// also are trusted besides, and sign nothing here.
	also []*x509.Certificate
}

// earlier is a root whose key is gone.
type earlier struct {
	root *x509.Certificate
	// bridge is the root that followed, as this one certified it: it leads who
	// knows only the earlier root, from a token or from before a long sleep, to
	// the one that signs now.
	bridge *x509.Certificate
	// trusted is true until the rotation is finished.
	trusted bool
}

const (
	// backdateRoot lets even a control plane whose clock was set back right after
	// it founded the mesh accept its own root.
	backdateRoot = 24 * time.Hour
	// bridgeLifetime is how long a workload may have been off during a whole
	// rotation and come back without a new token. Tokens live shorter.
	bridgeLifetime = 30 * 24 * time.Hour
	// maxEarlier bounds what is sent with each answer.
	maxEarlier = 4
)

// The roles of the blocks in the file. The first root has none: it signs.
const (
	roleHeader  = "Role"
	roleNext    = "next"
	roleTrusted = "previous"
	roleDropped = "dropped"
	roleBridge  = "bridge"
)

// newRoot makes a root for a trust domain.
func newRoot(trustDomain string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	number := serial()
	template := &x509.Certificate{
		SerialNumber: number,
		// Two roots must not share a name: it is by the name that a verifier looks
		// for the issuer.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("wasmesh root %s %.8x", now.UTC().Format(time.DateOnly), number)},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             now.Add(-backdateRoot),
		NotAfter:              now.Add(RootLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	root, err := certify(template, template, key.Public(), key)
	return root, key, err
}

func certify(template, parent *x509.Certificate, public any, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// bridgeTo has the root that signs certify the one that will.
func (r *roots) bridgeTo(next *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	until := now.Add(bridgeLifetime)
	if until.After(r.signer.NotAfter) {
		until = r.signer.NotAfter
	}
	return certify(&x509.Certificate{
		SerialNumber: serial(), Subject: next.Subject, URIs: next.URIs, NotBefore: now.Add(-backdateRoot), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: next.KeyUsage, SubjectKeyId: next.SubjectKeyId,
	}, r.signer, next.PublicKey, r.key)
}

// trusted are the roots that members trust, in an order that a switch of the
// signer does not change: it is no news to them.
func (r *roots) trusted() []*x509.Certificate {
	out := append(r.own(), r.also...)
	slices.SortFunc(out, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	return slices.CompactFunc(out, func(a, b *x509.Certificate) bool { return a.Equal(b) })
}

// own are those of them to which leaves of this mesh lead, have led or will.
func (r *roots) own() []*x509.Certificate {
	out := []*x509.Certificate{r.anchor()}
	if r.external != nil {
		out = slices.Clone(r.external.anchors)
	}
	if r.next != nil {
		out = append(out, r.next)
	}
	for _, e := range r.earlier {
		if e.trusted {
			out = append(out, e.root)
		}
	}
	return out
}

// path are the certificates by which a server's leaf leads to each root that a
// caller may know: the root itself, as a joining caller looks for the one whose
// fingerprint its token carries, and the bridges from the earlier ones.
func (r *roots) path() [][]byte {
	out := append(slices.Clone(r.chain()), r.anchor().Raw)
	for _, e := range r.earlier {
		out = append(out, e.bridge.Raw, e.root.Raw)
	}
	return out
}

// Fingerprints returns those of the certificates in a PEM bundle.
func Fingerprints(bundle []byte) ([]string, error) {
	roots, err := parseBundle(bundle)
	var out []string
	for _, root := range roots {
		out = append(out, fingerprint(root.Raw))
	}
	return out, err
}

// knows reports whether a caller that knows only this root is led to ours.
func (r *roots) knows(print string) bool {
	for _, e := range r.earlier {
		if print == fingerprint(e.root.Raw) {
			return true
		}
	}
	return slices.ContainsFunc(r.own(), func(c *x509.Certificate) bool { return print == fingerprint(c.Raw) })
}

// parseRoots reads what pem wrote. A file of one certificate and one key, as it
// is outside of a rotation, needs no roles.
func parseRoots(data []byte, now time.Time) (*roots, error) {
	b := blocks{rest: data}
	r := &roots{}
	r.signer, r.key = b.pair("")
	for len(bytes.TrimSpace(b.rest)) > 0 && b.err == nil {
		switch role := b.role(); role {
		case roleNext:
			r.next, r.nextKey = b.pair(role)
		case roleTrusted, roleDropped:
			e := earlier{root: b.certificate(role), bridge: b.certificate(roleBridge), trusted: role == roleTrusted}
			if b.err == nil && (e.trusted || now.Before(e.bridge.NotAfter)) {
				r.earlier = append(r.earlier, e)
			}
		default:
			return nil, fmt.Errorf("holds a block of role %.40q, which this version does not know", role)
		}
	}
	return r, b.err
}

// pem writes everything into one file: there is no moment at which only a part
// of a step has been made.
func (r *roots) pem() ([]byte, error) {
	var out bytes.Buffer
	write := func(role, kind string, der []byte) {
		block := &pem.Block{Type: kind, Bytes: der}
		if role != "" {
			block.Headers = map[string]string{roleHeader: role}
		}
		_ = pem.Encode(&out, block) // a buffer takes everything
	}
	pair := func(role string, root *x509.Certificate, key crypto.Signer) error {
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		write(role, "CERTIFICATE", root.Raw)
		write(role, "PRIVATE KEY", secret)
		return err
	}
	if err := pair("", r.signer, r.key); err != nil {
		return nil, err
	}
	if r.next != nil {
		if err := pair(roleNext, r.next, r.nextKey); err != nil {
			return nil, err
		}
	}
	for _, e := range r.earlier {
		role := roleDropped
		if e.trusted {
			role = roleTrusted
		}
		write(role, "CERTIFICATE", e.root.Raw)
		write(roleBridge, "CERTIFICATE", e.bridge.Raw)
	}
	return out.Bytes(), nil
}

// blocks reads PEM blocks one after the other; after an error it returns
// nothing more.
type blocks struct {
	rest []byte
	err  error
}

// role is that of the next block.
func (b *blocks) role() string {
	block, _ := pem.Decode(b.rest)
	if block == nil {
		return ""
	}
	return block.Headers[roleHeader]
}

func (b *blocks) next(role, kind string) []byte {
	block, rest := pem.Decode(b.rest)
	if b.err == nil && (block == nil || block.Type != kind || block.Headers[roleHeader] != role) {
		b.err = errors.New("does not hold a certificate and a key")
	}
	if b.err != nil {
		return nil
	}
	b.rest = rest
	return block.Bytes
}

func (b *blocks) certificate(role string) *x509.Certificate {
	der := b.next(role, "CERTIFICATE")
	if b.err != nil {
		return nil
	}
	var root *x509.Certificate
	if root, b.err = x509.ParseCertificate(der); b.err != nil {
		return nil
	}
	if !root.IsCA {
		b.err = errors.New("the certificate is not one of an authority")
		return nil
	}
	_, b.err = trustDomainOf([]*x509.Certificate{root})
	return root
}

func (b *blocks) pair(role string) (*x509.Certificate, *ecdsa.PrivateKey) {
	root := b.certificate(role)
	der := b.next(role, "PRIVATE KEY")
	if b.err != nil {
		return nil, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		b.err = err
		return nil, nil
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(root.PublicKey) {
		b.err = errors.New("the key is not that of the certificate")
	}
	return root, key
}
