package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// attemptTimeout bounds one call of Join or Renew.
const attemptTimeout = 15 * time.Second

// ErrImpostor is wrapped when whoever answered is not the control plane of this
// mesh. Nothing was sent to it.
var ErrImpostor = errors.New("the server is not the control plane of this mesh")

// ErrRequest is wrapped when the control plane could not use the request: asking
// again with the same one is pointless.
var ErrRequest = errRequest

// Membership is what a workload has after joining or renewing.
type Membership struct {
	Certificates   []byte // PEM, the leaf first
	TrustBundle    []byte // PEM
	Renewal        string // secret: buys the next certificate
	Workload       mesh.Name
	ServiceAccount mesh.Name
	TrustDomain    string
	Expires        time.Time
}

// Join spends a token at the join endpoint: base is its URL without a path. The
// server must show a chain to the one root whose fingerprint the token carries,
// and the control plane's SPIFFE ID, before it gets to see the token.
//
// Errors that wrap ErrRefused, ErrImpostor or ErrRequest are final; others are
// worth another try.
func Join(ctx context.Context, base, token string, csr []byte) (Membership, error) {
	t, err := ParseToken(token)
	if err != nil {
		return Membership{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	var root *x509.Certificate
	verify := func(state tls.ConnectionState) error {
		for _, c := range state.PeerCertificates {
			if fingerprint(c.Raw) == t.Root {
				root = c
				return verifyControlPlane(state.PeerCertificates, []*x509.Certificate{c})
			}
		}
		return errors.New("it does not know the root that the token names; is the address right, and the token of this mesh?")
	}
	out, err := call(ctx, base, joinPath, joinRequest{token, string(csr)}, verify)
	if err != nil {
		return Membership{}, fmt.Errorf("joining at %s: %w", base, err)
	}
	if !bytes.Contains([]byte(out.TrustBundle), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})) {
		return Membership{}, fmt.Errorf("joining at %s: the trust bundle lacks the root that the token names", base)
	}
	return out.membership(csr)
}

// Renew trades the renewal credential of m, whose TrustBundle and Workload it
// also uses, for a new membership. Errors are as those of Join; m's credential
// stays good until the new one is used.
func Renew(ctx context.Context, base string, m Membership, csr []byte) (Membership, error) {
	roots, err := parseBundle(m.TrustBundle)
	if err != nil {
		return Membership{}, fmt.Errorf("%w: stored trust bundle: %w", ErrRequest, err)
	}
	verify := func(state tls.ConnectionState) error { return verifyControlPlane(state.PeerCertificates, roots) }
	out, err := call(ctx, base, renewPath, renewRequest{m.Workload.String(), m.Renewal, string(csr)}, verify)
	if err != nil {
		return Membership{}, fmt.Errorf("renewing at %s: %w", base, err)
	}
	return out.membership(csr)
}

// verifyControlPlane demands a chain to one of the roots, and of the control
// plane's identity in that root's trust domain.
func verifyControlPlane(chain, roots []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("it has no certificate")
	}
	trustDomain, err := verifyChain(chain, roots, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	want, leaf := ControlPlaneID(trustDomain), chain[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return fmt.Errorf("its certificate is not for %s", want)
	}
	return nil
}

// verifyChain returns the trust domain of the root that the chain leads to.
func verifyChain(chain, roots []*x509.Certificate, usage x509.ExtKeyUsage) (trustDomain string, err error) {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range roots {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := chain[0].Verify(o)
	if err != nil {
		return "", err
	}
	return trustDomainOf(chains[0][len(chains[0])-1])
}

// call posts one request on a connection of its own. verify sees the server's
// certificates before anything is sent.
func call(ctx context.Context, base, path string, in any, verify func(tls.ConnectionState) error) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return answer{}, fmt.Errorf("%w: the join URL must look like https://host:port", ErrRequest)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return answer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{
		DisableKeepAlives: true,
		// The names in the certificate say nothing here: who the server is follows
		// from the root and the SPIFFE ID, which VerifyConnection checks instead.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				if err := verify(s); err != nil {
					return fmt.Errorf("%w: %w", ErrImpostor, err)
				}
				return nil
			}},
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the caller names the URL
		}
		return answer{}, err
	}
	defer response.Body.Close()
	return read(response)
}

func read(response *http.Response) (answer, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	if response.StatusCode != http.StatusOK {
		var r refusalAnswer
		if decode(body, &r) != nil || r.Error == "" {
			r.Error = "HTTP status " + response.Status
		}
		switch response.StatusCode {
		case http.StatusForbidden:
			return answer{}, fmt.Errorf("%w: %.500s", ErrRefused, r.Error)
		case http.StatusBadRequest:
			return answer{}, fmt.Errorf("%w: %.500s", ErrRequest, r.Error)
		}
		return answer{}, fmt.Errorf("the control plane answered: %.500s", r.Error)
	}
	var out answer
	return out, decode(body, &out)
}

// membership checks that the answer belongs together before anyone relies on it:
// the leaf is for our key, leads to the bundle, and says who the answer says.
func (r answer) membership(csr []byte) (Membership, error) {
	key, err := ParseRequest(csr)
	if err != nil {
		return Membership{}, err
	}
	chain, err := parseBundle([]byte(r.Certificates))
	if err != nil {
		return Membership{}, fmt.Errorf("issued certificates: %w", err)
	}
	roots, err := parseBundle([]byte(r.TrustBundle))
	if err != nil {
		return Membership{}, fmt.Errorf("trust bundle: %w", err)
	}
	trustDomain, err := verifyChain(chain, roots, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return Membership{}, fmt.Errorf("issued certificate: %w", err)
	}
	id, err := PeerIdentity(chain[0], trustDomain)
	if err != nil {
		return Membership{}, fmt.Errorf("issued certificate: %w", err)
	}
	if leaf, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || !leaf.Equal(key) {
		return Membership{}, errors.New("the issued certificate is for another key")
	}
	if id.Workload.String() != r.Workload || id.ServiceAccount.String() != r.ServiceAccount || !isSecret(r.Renewal) {
		return Membership{}, errors.New("the answer does not fit the issued certificate")
	}
	return Membership{
		Certificates: []byte(r.Certificates), TrustBundle: []byte(r.TrustBundle), Renewal: r.Renewal,
		Workload: id.Workload, ServiceAccount: id.ServiceAccount, TrustDomain: trustDomain, Expires: chain[0].NotAfter,
	}, nil
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
