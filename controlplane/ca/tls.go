package ca

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"
)

// ServerTLS returns the control plane's side of TLS for callers that have no
// certificate yet: TLS 1.3, no session resumption, and a leaf for hosts that is
// replaced at half of its life and when another root signs. Its chain leads
// callers there that know only an earlier root.
func (a *Authority) ServerTLS(hosts []string) (*tls.Config, error) {
	return a.serverTLS(&serving{authority: a, hosts: hosts, strangers: true})
}

func (a *Authority) serverTLS(s *serving) (*tls.Config, error) {
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
// this authority. Whose it is, PeerIdentity says. It follows a rotation of the
// root; the protocol is HTTP/2.
func (a *Authority) MutualTLS(hosts []string) (*tls.Config, error) {
	config, err := a.serverTLS(&serving{authority: a, hosts: hosts})
	if err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = a.pool()
	// An external root may lead to more than this mesh.
	config.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := PeerIdentity(s.PeerCertificates[0], a.trustDomain)
		return err
	}
	config.NextProtos = []string{"h2"}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := config.Clone()
		current.GetConfigForClient = nil
		current.ClientCAs = a.pool()
		return current, nil
	}
	return config, nil
}

func (a *Authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range a.roots.Load().trusted() {
		pool.AddCert(root)
	}
	return pool
}

// serving keeps one serving leaf fresh.
type serving struct {
	authority *Authority
	hosts     []string
	// strangers may know only an earlier root; members know the present ones.
	strangers bool
	// calls: the leaf is good for calling other replicas too.
	calls bool

	mu    sync.Mutex
	leaf  *tls.Certificate
	until time.Time
	roots *roots
}

func (s *serving) current() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, roots := s.authority.now(), s.authority.roots.Load()
	if s.leaf != nil && now.Before(s.until) && s.roots == roots {
		return s.leaf, nil
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if s.calls {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	leaf, err := s.authority.ownCertificate(s.hosts, usages...)
	if err != nil {
		return nil, err
	}
	if !s.strangers {
		leaf.Certificate = leaf.Certificate[:1+max(1, len(roots.chain()))]
	}
	s.leaf, s.until, s.roots = &leaf, now.Add(leaf.Leaf.NotAfter.Sub(now)/2), roots
	return s.leaf, nil
}
