package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// identities are those who take part, issued by the mesh's own authority, so
// that certificates have the names and the size that they have in a mesh.
type identities struct {
	roots     []byte // PEM
	server    leaf
	stranger  leaf
	authority *ca.Authority
}

// leaf is a certificate with its key, in PEM.
type leaf struct{ chain, key []byte }

// newIdentities founds an authority in dir.
func newIdentities(dir string) (identities, error) {
	authority, err := ca.Open(dir, ca.Options{TrustDomain: trustDomain})
	if err != nil {
		return identities{}, err
	}
	id := identities{roots: authority.TrustBundle(), authority: authority}
	if id.server, err = id.issue(workload); err != nil {
		return identities{}, err
	}
	id.stranger, err = id.issue(mesh.Name{Namespace: namespace, Name: "bookthief"})
	return id, err
}

// issue makes a leaf for a workload that is named as its service account.
func (id identities) issue(account mesh.Name) (leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return leaf{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return leaf{}, err
	}
	issued, err := id.authority.Issue(key.Public(), ca.Identity{
		ServiceAccount: account, Workload: account, Kind: ca.KindWorkload,
	}, 0)
	if err != nil {
		return leaf{}, err
	}
	return leaf{issued.Chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})}, nil
}

// client is how the bearer of a leaf connects to the server.
func (id identities) client(l leaf, protocol string) (*tls.Config, error) {
	certificate, err := tls.X509KeyPair(l.chain, l.key)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	label, err := ca.Label(workload, ca.KindWorkload)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(id.roots) {
		return nil, errors.New("the authority's bundle holds no certificate")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		RootCAs:      roots,
		ServerName:   label,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{protocol},
	}, nil
}
