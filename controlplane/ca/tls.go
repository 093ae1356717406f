package ca

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"
)

// ServerTLS returns the control plane's side of TLS for callers that have no
// certificate yet: TLS 1.3, no session resumption, and a leaf for hosts that is
// replaced at half of its life.
func (a *Authority) ServerTLS(hosts []string) (*tls.Config, error) {
	s := &serving{authority: a, hosts: hosts}
	if _, err := s.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// A resumed session would let an expired certificate in.
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current() },
		Time:                   a.now,
	}, nil
}

// MutualTLS is ServerTLS for members of the mesh: it demands a certificate of
// this authority. Whose it is, PeerIdentity says.
func (a *Authority) MutualTLS(hosts []string) (*tls.Config, error) {
	config, err := a.ServerTLS(hosts)
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	config.ClientCAs.AddCert(a.root)
	return config, nil
}

// serving keeps one serving leaf fresh.
type serving struct {
	authority *Authority
	hosts     []string

	mu    sync.Mutex
	leaf  *tls.Certificate
	until time.Time
}

func (s *serving) current() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.authority.now()
	if s.leaf != nil && now.Before(s.until) {
		return s.leaf, nil
	}
	leaf, err := s.authority.ServingCertificate(s.hosts)
	if err != nil {
		return nil, err
	}
	s.leaf, s.until = &leaf, now.Add(leaf.Leaf.NotAfter.Sub(now)/2)
	return s.leaf, nil
}
