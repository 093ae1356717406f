package requests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// trustDomain is the mesh's.
const trustDomain = "requests.test"

// alpn is what sidecars speak among each other.
const alpn = "wasmesh"

// memberID is the identity to which something is granted.
const memberID = "spiffe://" + trustDomain + "/ns/a/sa/client"

// credentials are what somebody shows at the server's sidecar. The zero value is
// a leaf as the authority issues it to the member.
type credentials struct {
	plaintext bool
	text      bool // HTTP/1 inside TLS
	bare      bool // no certificate at all
	oldest    bool // TLS 1.2
	// uris and dns are the names in the leaf.
	uris, dns         []string
	alpn              []string
	notBefore, expiry time.Duration // from now
	usage             []x509.ExtKeyUsage
	// signer: "" is the mesh's root, else another of the same name, the leaf
	// itself, or the member's leaf; "root" shows the root itself.
	signer string
}

// credentialsFor returns the credentials of a name that the corpus uses.
func credentialsFor(name string) (credentials, error) {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	c := credentials{
		uris: []string{memberID}, dns: []string{"client.workload.a.peer.wasmesh.internal"}, alpn: []string{alpn},
		notBefore: -time.Minute, expiry: time.Hour, usage: both,
	}
	word, rest, _ := strings.Cut(name, " ")
	switch word {
	case "member":
	case "plaintext":
		c.plaintext = true
	case "text":
		c.text = true
	case "bare":
		c.bare = true
	case "tls12":
		c.oldest = true
	case "uri":
		text, err := unescaped(rest)
		c.uris = strings.Split(text, " ") // not Fields: other blanks belong to a name
		return c, err
	case "alpn":
		c.alpn = strings.Fields(rest)
	case "expired":
		c.notBefore, c.expiry = -2*time.Hour, -time.Second
	case "future":
		c.notBefore = time.Minute
	case "server-only":
		c.usage = both[1:]
	case "code-signing":
		c.usage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	case "signer":
		c.signer = rest
	default:
		return c, fmt.Errorf("there are no credentials %q", name)
	}
	return c, nil
}

// forge is somebody with the mesh's own root, as only a break-in would get it:
// nothing but the checks of the receiver stands in the way.
type forge struct {
	root *x509.Certificate
	key  any
}

// openForge takes the root out of the control plane's state folder.
func openForge(state string) (*forge, error) {
	text, err := os.ReadFile(filepath.Join(state, "root.pem"))
	if err != nil {
		return nil, err
	}
	certificate, rest := pem.Decode(text)
	secret, _ := pem.Decode(rest)
	if certificate == nil || secret == nil {
		return nil, errors.New("root.pem does not hold a certificate and a key")
	}
	f := &forge{}
	if f.root, err = x509.ParseCertificate(certificate.Bytes); err != nil {
		return nil, err
	}
	f.key, err = x509.ParsePKCS8PrivateKey(secret.Bytes)
	return f, err
}

// config is the caller's side of TLS. It does not look at the server: who would
// be so mean as to attack it knows where it is.
func (f *forge) config(c credentials) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: c.alpn, InsecureSkipVerify: true}
	if c.oldest {
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	leaf := tls.Certificate{}
	if !c.bare {
		var err error
		if leaf, err = f.issue(c); err != nil {
			return nil, err
		}
	}
	// The certificate is shown even where the server does not ask for one like it.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &leaf, nil }
	return config, nil
}

func (f *forge) issue(c credentials) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	parent, signer := f.root, f.key
	var chain [][]byte
	switch c.signer {
	case "":
	case "root":
		return tls.Certificate{Certificate: [][]byte{f.root.Raw}, PrivateKey: f.key}, nil
	case "namesake":
		other := *f.root // the same names, another key
		other.PublicKey, other.AuthorityKeyId = key.Public(), nil
		parent, signer = &other, key
	case "itself":
		parent = nil
		signer = key
	case "member":
		member, err := f.issue(credentials{uris: c.uris, dns: c.dns, notBefore: c.notBefore, expiry: c.expiry, usage: c.usage})
		if err != nil {
			return tls.Certificate{}, err
		}
		if parent, err = x509.ParseCertificate(member.Certificate[0]); err != nil {
			return tls.Certificate{}, err
		}
		signer, chain = member.PrivateKey, member.Certificate
	default:
		return tls.Certificate{}, fmt.Errorf("nobody signs as %q", c.signer)
	}
	names, err := alternativeNames(c.uris, c.dns)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), ExtKeyUsage: c.usage, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(c.notBefore), NotAfter: time.Now().Add(c.expiry),
		BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{names},
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	return tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key}, err
}

// alternativeNames writes names as they are, also those that no library would.
func alternativeNames(uris, dns []string) (pkix.Extension, error) {
	var names []asn1.RawValue
	for _, d := range dns {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(d)})
	}
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	value, err := asn1.Marshal(names)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}, err
}
