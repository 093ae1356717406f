package ca

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
)

// ControlPlane is the service account of the control plane. Only the authority
// itself issues to it: no workload can have it.
var ControlPlane = mesh.Name{Namespace: "wasmesh-system", Name: "controlplane"}

// ControlPlaneID is the SPIFFE ID of the control plane of a trust domain.
func ControlPlaneID(trustDomain string) string { return mesh.SPIFFEID(trustDomain, ControlPlane) }

// The kinds of workloads: a Workload object, or a pod that the injector gave a
// sidecar.
const (
	KindWorkload = mesh.KindWorkload
	KindPod      = mesh.KindPod
)

// Identity is who a leaf is for.
type Identity struct {
	ServiceAccount mesh.Name
	Workload       mesh.Name
	// Kind of the object that the workload is, in lower case: KindWorkload or
	// KindPod.
	Kind string
	// Owner is the object that a pod is an instance of, for metrics; it may say
	// nothing, and is not read back from a leaf.
	Owner identity.Owner
}

// PeerIdentity reads the identity of a workload from its leaf. It is only worth
// something after the chain was verified; a leaf of another trust domain, of
// the control plane, or with more names than ours have is refused.
func PeerIdentity(leaf *x509.Certificate, trustDomain string) (Identity, error) {
	if len(leaf.URIs) != 1 || len(leaf.DNSNames) != 1 || len(leaf.IPAddresses) != 0 || len(leaf.EmailAddresses) != 0 {
		return Identity{}, errors.New("the certificate does not carry exactly one SPIFFE ID and one peer label")
	}
	id := leaf.URIs[0].String()
	sa, ok := mesh.ParseSPIFFEID(trustDomain, id)
	if !ok {
		return Identity{}, fmt.Errorf("identity %.300q is not one of a service account of trust domain %s", id, trustDomain)
	}
	if sa == ControlPlane {
		return Identity{}, errors.New("the certificate is the control plane's own, not a workload's")
	}
	workload, kind, ok := ParseLabel(leaf.DNSNames[0])
	if !ok || workload.Namespace != sa.Namespace {
		return Identity{}, fmt.Errorf("peer label %.300q does not name a workload of namespace %s", leaf.DNSNames[0], sa.Namespace)
	}
	return Identity{ServiceAccount: sa, Workload: workload, Kind: kind}, nil
}

func (id Identity) validate() error {
	sa := id.ServiceAccount
	switch {
	case !identity.IsDNSLabel(sa.Namespace) || !identity.IsDNSName(sa.Name):
		return fmt.Errorf("service account %.300q: namespace and name must be lower-case DNS names", sa)
	case sa == ControlPlane:
		return fmt.Errorf("service account %s is the control plane's own; give workload %s another", sa, id.Workload)
	case sa.Namespace != id.Workload.Namespace:
		return fmt.Errorf("workload %s cannot have service account %s of another namespace", id.Workload, sa)
	}
	return nil
}

// validTrustDomain follows the SPIFFE rules for the characters and the length.
func validTrustDomain(s string) error {
	valid := s != "" && len(s) <= 255
	for i := range len(s) {
		c := s[i]
		valid = valid && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_')
	}
	if !valid {
		return fmt.Errorf("trust domain %.300q: use lower-case letters, digits, dots, dashes and underscores only, at most 255", s)
	}
	return nil
}

// trustDomainOf reads the trust domain that the authorities of a verified path are
// for, of which the last is a root: the one nearest to the leaf that names one
// decides. A leaf says nothing about it.
func trustDomainOf(path []*x509.Certificate) (string, error) {
	for _, c := range path {
		if domain, ok := namedTrustDomain(c); ok && c.IsCA {
			return domain, validTrustDomain(domain)
		}
	}
	return "", errors.New("no authority names the trust domain; issue the intermediate with the one URI spiffe://<trust domain>, or with that one URI domain permitted")
}

// namedTrustDomain is the SPIFFE ID of the trust domain itself, as our own roots
// have it, or the only domain whose URIs an authority may certify.
func namedTrustDomain(c *x509.Certificate) (string, bool) {
	if len(c.URIs) == 1 && c.URIs[0].String() == "spiffe://"+c.URIs[0].Host {
		return c.URIs[0].Host, true
	}
	if len(c.URIs) == 0 && len(c.PermittedURIDomains) == 1 {
		return c.PermittedURIDomains[0], true
	}
	return "", false
}
