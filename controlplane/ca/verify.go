package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// verifyControlPlane demands a chain to one of the roots, and of the control
// plane's identity in that root's trust domain.
func verifyControlPlane(chain, roots []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("it has no certificate")
	}
	path, err := verifyChain(chain, roots, x509.ExtKeyUsageServerAuth, now)
	if err != nil {
		return err
	}
	trustDomain, err := trustDomainOf(path)
	if err != nil {
		return err
	}
	want, leaf := ControlPlaneID(trustDomain), chain[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return fmt.Errorf("its certificate is not for %s", want)
	}
	return nil
}

// verifyChain returns the path from the first certificate of the chain to a root.
func verifyChain(chain, roots []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range roots {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := verifyAt(chain, o, now)
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// parseBundle reads one or more PEM certificates, and nothing else.
func parseBundle(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("holds something that is no PEM certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, data = append(out, c), rest
	}
	if len(out) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return out, nil
}

// verifyAt verifies a chain at a moment. A chain that is fine but for the time
// is a matter of clocks, and the error then says how far apart they are at least.
func verifyAt(chain []*x509.Certificate, o x509.VerifyOptions, now time.Time) ([][]*x509.Certificate, error) {
	o.CurrentTime = now
	chains, err := chain[0].Verify(o)
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return chains, err
	}
	o.CurrentTime = chain[0].NotBefore.Add(backdate)
	if _, timeless := chain[0].Verify(o); timeless != nil {
		return nil, err
	}
	c := invalid.Cert
	if now.Before(c.NotBefore) {
		return nil, fmt.Errorf("%w: this one says %s and is at least %v behind; set it", ErrClock, now.UTC().Format(time.RFC3339), c.NotBefore.Add(backdate).Sub(now).Round(time.Second))
	}
	return nil, fmt.Errorf("%w: this one says %s and is at least %v ahead, unless the certificate really ended at %s; set it", ErrClock, now.UTC().Format(time.RFC3339), now.Sub(c.NotAfter).Round(time.Second), c.NotAfter.UTC().Format(time.RFC3339))
}
