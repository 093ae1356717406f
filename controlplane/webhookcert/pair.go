package webhookcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// The keys of the Secret. What is under bundleKey are all certificates that may
// be met, each trusted by itself: they are no authorities.
const (
	bundleKey = "ca.crt"
	certKey   = "tls.crt"
	keyKey    = "tls.key"
	// nextCertKey and nextKeyKey hold what takes over once everybody trusts it.
	nextCertKey = "next.crt"
	nextKeyKey  = "next.key"
)

const (
	// DefaultLife is that of a certificate; with a third of it left the next one is
	// made.
	DefaultLife = 30 * 24 * time.Hour
	// MinLife leaves replicas the time to follow each other.
	MinLife = 15 * time.Second
	// longestSettle is how long the next one waits: API servers hear of a new bundle
	// within seconds.
	longestSettle = 2 * time.Minute
	// early allows for clocks that are behind.
	early = time.Hour
)

// settle is how long the next certificate waits until it is served.
func settle(life time.Duration) time.Duration { return min(longestSettle, life/10) }

// step returns what the Secret should hold, from what it holds: nothing at first,
// then a certificate, in time the next one beside it, and that one alone. What is
// damaged or for other hosts counts as nothing. The next one takes over when it has
// waited and stands in the bundles of all webhooks, unless there is no other.
func step(data map[string][]byte, bundles [][]byte, hosts []string, life time.Duration, now time.Time) (map[string][]byte, error) {
	out := maps.Clone(data)
	if out == nil {
		out = map[string][]byte{}
	}
	current, usable := valid(out[certKey], out[keyKey], hosts, now)
	next, waiting := valid(out[nextCertKey], out[nextKeyKey], hosts, now)
	var err error
	switch {
	case !usable && waiting:
		out[certKey], out[keyKey] = out[nextCertKey], out[nextKeyKey]
		delete(out, nextCertKey)
		delete(out, nextKeyKey)
	case !usable:
		out[certKey], out[keyKey], err = makePair(hosts, life, now)
	case waiting && now.Sub(next.NotBefore) >= early+settle(life) && inAll(bundles, out[nextCertKey]):
		out[certKey], out[keyKey] = out[nextCertKey], out[nextKeyKey]
		delete(out, nextCertKey)
		delete(out, nextKeyKey)
	case !waiting && current.NotAfter.Sub(now) < life/3:
		out[nextCertKey], out[nextKeyKey], err = makePair(hosts, life, now)
	}
	if err != nil {
		return nil, err
	}
	out[bundleKey] = bundle(out, now)
	return out, nil
}

// inAll reports whether each webhook's bundle has a certificate.
func inAll(bundles [][]byte, cert []byte) bool {
	return len(bundles) > 0 && !slices.ContainsFunc(bundles, func(b []byte) bool { return !bytes.Contains(b, cert) })
}

// bundle joins the certificates that are used or will be with those that were
// and are not over: another replica may still show one.
func bundle(data map[string][]byte, now time.Time) []byte {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, text := range [][]byte{data[nextCertKey], data[certKey], data[bundleKey]} {
		for len(text) > 0 {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				break
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil || now.After(c.NotAfter) || seen[string(c.Raw)] {
				continue
			}
			seen[string(c.Raw)] = true
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
	}
	return out.Bytes()
}

// valid reads a pair that can be served now and for every host.
func valid(cert, key []byte, hosts []string, now time.Time) (*x509.Certificate, bool) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil || pair.Leaf == nil || now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter) {
		return nil, false
	}
	for _, h := range hosts {
		if pair.Leaf.VerifyHostname(h) != nil {
			return nil, false
		}
	}
	return pair.Leaf, true
}

// makePair makes a certificate that vouches for itself and for nothing else.
func makePair(hosts []string, life time.Duration, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "wasmesh webhook"}, DNSNames: hosts,
		// Whole seconds: rounded up, so that none of the time to settle is lost.
		NotBefore: now.Add(time.Second - early), NotAfter: now.Add(life), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
