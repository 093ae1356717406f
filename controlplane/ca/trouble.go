package ca

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Troubles says, in sentences, what will end the mesh's certificates unless
// somebody does something: who signs cannot be read anew, or ends soon. They stay
// the same as long as their cause does.
func (a *Authority) Troubles() []string {
	var out []string
	a.mu.Lock()
	if a.unread != nil {
		out = append(out, fmt.Sprintf("who signs cannot be read anew, and what was there goes on: %v", a.unread))
	}
	a.mu.Unlock()
	ends, soon := a.roots.Load().end(), 2*a.leafLifetime
	if a.now().Before(ends.NotAfter.Add(-soon)) {
		return out
	}
	mend := "replace the root: wasmesh ca rotate start"
	if a.external != "" {
		mend = "have it renewed by the authority that issues it; what it renews is taken up by itself"
	}
	return append(out, fmt.Sprintf("%q, by which all certificates of the mesh are signed, ends at %s, and they with it: %s",
		ends.Subject.CommonName, ends.NotAfter.UTC().Format(time.RFC3339), mend))
}

// end is the certificate that ends first of those on the way from leaves to the
// root.
func (r *roots) end() *x509.Certificate {
	first := r.signer
	if anchor := r.anchor(); anchor.NotAfter.Before(first.NotAfter) {
		first = anchor
	}
	for _, der := range r.chain() {
		if c, err := x509.ParseCertificate(der); err == nil && c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return first
}
