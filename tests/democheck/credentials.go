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
	"sync/atomic"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// alpn is what sidecars speak among each other.
const alpn = "wasmesh"

// issue makes a key and has the demo's own authority certify it, as somebody
// who broke into the control plane's machine could.
func issue(state string, serviceAccount, workload mesh.Name, lifetime time.Duration) (tls.Certificate, *x509.CertPool, error) {
	authority, err := ca.Open(state, ca.Options{})
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	id := ca.Identity{ServiceAccount: serviceAccount, Workload: workload, Kind: ca.KindWorkload}
	leaf, err := authority.Issue(key.Public(), id, lifetime)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	block, _ := pem.Decode(leaf.Chain)
	if block == nil {
		return tls.Certificate{}, nil, errors.New("the authority's chain is no PEM")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.TrustBundle()) {
		return tls.Certificate{}, nil, errors.New("the authority's trust bundle is empty")
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: parsed}, roots, nil
}

// clientTLS is a mesh member's side of TLS. It verifies the server as a member
// would, by SPIFFE ID, and notes every offer to resume a session.
func clientTLS(leaf tls.Certificate, roots *x509.CertPool, server string, tickets *ticketCounter) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{leaf},
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{alpn},
		ServerName:         "bookstore.invalid", // names the sessions in the cache
		ClientSessionCache: tickets,
		// Leaves have no host name; VerifyConnection does what is left out here.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			peer := s.PeerCertificates[0]
			if _, err := peer.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
				return err
			}
			if len(peer.URIs) != 1 || peer.URIs[0].String() != server {
				return fmt.Errorf("the server is %v, not %s", peer.URIs, server)
			}
			return nil
		},
	}
}

// ticketCounter is a session cache that keeps the last session it is given, as a
// client that wants to resume would.
type ticketCounter struct {
	last atomic.Pointer[tls.ClientSessionState]
	puts atomic.Int32
}

// Get offers the session for resumption.
func (t *ticketCounter) Get(string) (*tls.ClientSessionState, bool) {
	s := t.last.Load()
	return s, s != nil
}

// Put is called when a server issues a ticket, and with nil to forget one.
func (t *ticketCounter) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		t.puts.Add(1)
	}
	t.last.Store(s)
}
