package ca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// ReplicaTLS returns both sides of mutual TLS between replicas of the control
// plane: each shows the control plane's own SPIFFE ID, in a leaf of the authority
// that they share, and takes nobody else. It follows a rotation of the root.
func (a *Authority) ReplicaTLS() (server, client *tls.Config, err error) {
	own := &serving{authority: a, calls: true}
	if server, err = a.serverTLS(own); err != nil {
		return nil, nil, err
	}
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.NextProtos = []string{"http/1.1"}
	server.VerifyConnection = func(s tls.ConnectionState) error { return a.isReplica(s.PeerCertificates, x509.ExtKeyUsageClientAuth) }
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := server.Clone()
		current.GetConfigForClient = nil
		current.ClientCAs = a.pool()
		return current, nil
	}
	client = &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Who the server is follows from root and SPIFFE ID, whatever its address.
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.current() },
		VerifyConnection:     func(s tls.ConnectionState) error { return a.isReplica(s.PeerCertificates, x509.ExtKeyUsageServerAuth) },
	}
	return server, client, nil
}

// isReplica demands a chain to one of the present roots, and the control plane's
// identity at its end.
func (a *Authority) isReplica(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("it has no certificate")
	}
	if _, err := verifyChain(chain, a.roots.Load().trusted(), usage, a.now()); err != nil {
		return err
	}
	if leaf := chain[0]; len(leaf.URIs) != 1 || leaf.URIs[0].String() != ControlPlaneID(a.trustDomain) {
		return errors.New("its certificate is not the control plane's")
	}
	return nil
}
