package ca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// CallerTLS is the control plane's side of mutual TLS with a sidecar that it calls:
// it shows the control plane's own SPIFFE ID and takes any workload of the mesh.
// Which one it is, IsWorkload says. It follows a rotation of the root.
func (a *Authority) CallerTLS() (*tls.Config, error) {
	own := &serving{authority: a, calls: true}
	if _, err := own.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Who the server is follows from root and identity, whatever its address.
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.current() },
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("it has no certificate")
			}
			if _, err := verifyChain(s.PeerCertificates, a.roots.Load().trusted(), x509.ExtKeyUsageServerAuth, a.now()); err != nil {
				return err
			}
			_, err := PeerIdentity(s.PeerCertificates[0], a.trustDomain)
			return err
		},
	}, nil
}

// IsWorkload reports an error unless a connection that CallerTLS verified leads to
// that workload.
func (a *Authority) IsWorkload(s tls.ConnectionState, workload mesh.Name) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("it has no certificate")
	}
	id, err := PeerIdentity(s.PeerCertificates[0], a.trustDomain)
	if err != nil {
		return err
	}
	if id.Workload != workload {
		return fmt.Errorf("%s is at its address", id.Workload)
	}
	return nil
}
