package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
)

// Leaf is an issued certificate.
type Leaf struct {
	// Chain is PEM, the leaf first, without the root.
	Chain   []byte
	Expires time.Time
}

// Issue certifies that whoever has the private key of public is id. A lifetime
// of zero means the authority's; a longer one is refused. No leaf outlives the
// root. The only key accepted is ECDSA on P-256.
func (a *Authority) Issue(public crypto.PublicKey, id Identity, lifetime time.Duration) (Leaf, error) {
	if lifetime == 0 {
		lifetime = a.leafLifetime
	}
	if lifetime < 0 || lifetime > a.leafLifetime {
		return Leaf{}, fmt.Errorf("lifetime %v is out of bounds; the authority issues for at most %v", lifetime, a.leafLifetime)
	}
	if err := id.validate(); err != nil {
		return Leaf{}, err
	}
	label, err := Label(id.Workload, id.Kind)
	if err != nil {
		return Leaf{}, err
	}
	template := &x509.Certificate{
		DNSNames:    []string{label},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if id.Owner.Fits() {
		template.Subject = pkix.Name{CommonName: id.Owner.Name, OrganizationalUnit: []string{id.Owner.Kind}}
	}
	r := a.roots.Load()
	der, err := r.sign(template, public, mesh.SPIFFEID(a.trustDomain, id.ServiceAccount), a.now(), lifetime)
	if err != nil {
		return Leaf{}, fmt.Errorf("issuing for workload %s: %w", id.Workload, err)
	}
	var chain []byte
	for _, c := range append([][]byte{der}, r.chain()...) {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return Leaf{Chain: chain, Expires: template.NotAfter}, nil
}

// sign completes the template in place with what all leaves have in common.
func (r *roots) sign(template *x509.Certificate, public crypto.PublicKey, spiffeID string, now time.Time, lifetime time.Duration) ([]byte, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key is not ECDSA on P-256, the only kind that is certified")
	}
	id, err := url.Parse(spiffeID)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	template.SerialNumber = serial()
	template.URIs = []*url.URL{id}
	template.NotBefore = now.Add(-backdate)
	template.NotAfter = now.Add(lifetime)
	if template.NotAfter.After(r.signer.NotAfter) {
		template.NotAfter = r.signer.NotAfter
	}
	if !template.NotAfter.After(now) {
		return nil, errors.New("the certificate that signs has expired")
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	return x509.CreateCertificate(rand.Reader, template, r.signer, key, r.key)
}

// ParseRequest returns the public key of a PEM signing request, after checking
// that its sender has the private key. Names, extensions and everything else in
// the request are ignored.
func ParseRequest(csr []byte) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode(csr)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, errors.New("the signing request is not one PEM block of type CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the signing request cannot be read: %w", err)
	}
	// The kind of key comes first: checking the signature of an RSA key of the
	// sender's choice is work of the sender's choice.
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key of the signing request is not ECDSA on P-256")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the signing request is not signed by its own key: %w", err)
	}
	return key, nil
}

// ServingCertificate issues the control plane's own leaf, with a new key that
// stays in memory. hosts are the names and IP addresses that clients dial. The
// chain goes on to every root that a client may know.
func (a *Authority) ServingCertificate(hosts []string) (tls.Certificate, error) {
	return a.ownCertificate(hosts, x509.ExtKeyUsageServerAuth)
}

// ownCertificate is a leaf of the control plane, for these usages.
func (a *Authority) ownCertificate(hosts []string, usages ...x509.ExtKeyUsage) (tls.Certificate, error) {
	template := &x509.Certificate{ExtKeyUsage: usages}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		// A peer label in the control plane's leaf would make it look like a workload.
		if _, _, label := ParseLabel(host); label || !identity.IsDNSName(host) {
			return tls.Certificate{}, fmt.Errorf("serving certificate: %.300q is neither an IP address nor a lower-case DNS name of a machine", host)
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	r := a.roots.Load()
	der, err := r.sign(template, key.Public(), ControlPlaneID(a.trustDomain), a.now(), a.leafLifetime)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("serving certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: append([][]byte{der}, r.path()...), PrivateKey: key, Leaf: leaf}, nil
}
