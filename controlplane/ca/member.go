package ca

import (
	"crypto/tls"
	"fmt"
	"time"
)

// MemberTLS is a member's side of mutual TLS with the control plane, from its key,
// chain and roots (PEM): the server must show the control plane's SPIFFE ID and
// a chain to one of the roots, whatever its address.
func MemberTLS(key, chain, roots []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("the member's certificate: %w", err)
	}
	trusted, err := parseBundle(roots)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		// As in call: who the server is follows from root and SPIFFE ID.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := verifyControlPlane(s.PeerCertificates, trusted, time.Now()); err != nil {
				return fmt.Errorf("%w: %w", ErrImpostor, err)
			}
			return nil
		},
	}, nil
}
