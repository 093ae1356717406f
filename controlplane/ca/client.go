package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// attemptTimeout bounds one call of a Client.
const attemptTimeout = 10 * time.Second

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
	Renewal        string // secret: buys the next certificate; empty for pods, whose token does
	Workload       mesh.Name
	ServiceAccount mesh.Name
	TrustDomain    string
	Expires        time.Time
	// Signer is the fingerprint of the root that signed the leaf.
	Signer string
	// Lifetime is how long the leaf lived on when it came, by the control plane's
	// clock: it holds however wrong the clock here is.
	Lifetime time.Duration
	// Skew is how far this machine's clock is ahead of the control plane's. It
	// includes the time that the answer took.
	Skew time.Duration
}

// Client asks one control plane.
type Client struct {
	// URL is that of the join endpoint, without a path.
	URL string
	// Now is the clock of this machine; time.Now if nil.
	Now func() time.Time
}

func (c Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Join spends a token. The server must show a chain to the one root whose
// fingerprint the token carries, and the control plane's SPIFFE ID, before it
// gets to see the token.
//
// Errors that wrap ErrRefused, ErrImpostor or ErrRequest are final; others are
// worth another try, those that wrap ErrClock once a clock has been set.
func (c Client) Join(ctx context.Context, token string, csr []byte) (Membership, error) {
	t, err := ParseToken(token)
	if err != nil {
		return Membership{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	var server []*x509.Certificate
	verify := func(state tls.ConnectionState) error {
		server = state.PeerCertificates
		for _, root := range server {
			if fingerprint(root.Raw) == t.Root {
				return verifyControlPlane(server, []*x509.Certificate{root}, c.now())
			}
		}
		return errors.New("it does not know the root that the token names; is the address right, and the token of this mesh?")
	}
	var out answer
	if err := c.call(ctx, joinPath, joinRequest{token, string(csr), c.now()}, &out, verify); err != nil {
		return Membership{}, fmt.Errorf("joining at %s: %w", c.URL, err)
	}
	roots, err := parseBundle([]byte(out.TrustBundle))
	if err == nil {
		err = verifyControlPlane(server, roots, c.now())
	}
	if err != nil {
		return Membership{}, fmt.Errorf("joining at %s: the trust bundle does not hold the server's own root: %w", c.URL, err)
	}
	return out.membership(csr, c.now())
}

// Attest shows a token of the platform for a membership. The server must have a
// chain to one of the roots (PEM), and the control plane's SPIFFE ID, before it
// gets to see the token. Errors are as those of Join, but none is final: the
// platform replaces tokens, and may take a moment to know a new pod.
func (c Client) Attest(ctx context.Context, token string, roots, csr []byte) (Membership, error) {
	verify, err := c.known(roots)
	if err != nil {
		return Membership{}, err
	}
	var out answer
	if err := c.call(ctx, attestPath, attestRequest{token, string(csr), c.now()}, &out, verify); err != nil {
		return Membership{}, fmt.Errorf("joining at %s: %w", c.URL, err)
	}
	return out.attested(csr, c.now())
}

// Renew trades the renewal credential of m, whose TrustBundle and Workload it
// also uses, for a new membership. Errors are as those of Join; m's credential
// stays good until the new one is used.
func (c Client) Renew(ctx context.Context, m Membership, csr []byte) (Membership, error) {
	verify, err := c.known(m.TrustBundle)
	if err != nil {
		return Membership{}, err
	}
	var out answer
	if err := c.call(ctx, renewPath, renewRequest{m.Workload.String(), m.Renewal, string(csr), c.now()}, &out, verify); err != nil {
		return Membership{}, fmt.Errorf("renewing at %s: %w", c.URL, err)
	}
	return out.membership(csr, c.now())
}

// Roots returns the roots to trust (PEM) and the fingerprint of the one that
// signs, and tells the control plane what Envoy runs with. It spends nothing of
// m, of which it uses what Renew uses. Errors are as those of Join.
func (c Client) Roots(ctx context.Context, m Membership, holds Holding) (bundle []byte, signer string, err error) {
	return c.askRoots(ctx, m.TrustBundle, rootsRequest{Workload: m.Workload.String(), Renewal: m.Renewal, Holds: holds})
}

// AttestedRoots is Roots for whoever shows a token of the platform, to a server
// that leads to one of the roots (PEM).
func (c Client) AttestedRoots(ctx context.Context, token string, roots []byte, holds Holding) (bundle []byte, signer string, err error) {
	return c.askRoots(ctx, roots, rootsRequest{Token: token, Holds: holds})
}

func (c Client) askRoots(ctx context.Context, known []byte, in rootsRequest) (bundle []byte, signer string, err error) {
	verify, err := c.known(known)
	if err != nil {
		return nil, "", err
	}
	var out rootsAnswer
	err = c.call(ctx, rootsPath, in, &out, verify)
	if err == nil {
		_, err = parseBundle([]byte(out.TrustBundle))
	}
	if err != nil {
		return nil, "", fmt.Errorf("asking %s for the roots: %w", c.URL, err)
	}
	return []byte(out.TrustBundle), out.Signer, nil
}

// known verifies a server by the roots (PEM) that a member has.
func (c Client) known(bundle []byte) (func(tls.ConnectionState) error, error) {
	roots, err := parseBundle(bundle)
	if err != nil {
		return nil, fmt.Errorf("%w: the trust bundle that is here: %w", ErrRequest, err)
	}
	return func(state tls.ConnectionState) error {
		return verifyControlPlane(state.PeerCertificates, roots, c.now())
	}, nil
}

// call posts one request on a connection of its own, and reads the answer into
// out. verify sees the server's certificates before anything is sent.
func (c Client) call(ctx context.Context, path string, in, out any, verify func(tls.ConnectionState) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%w: the join URL must look like https://host:port", ErrRequest)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{
		DisableKeepAlives: true,
		// The names in the certificate say nothing here: who the server is follows
		// from the root and the SPIFFE ID, which VerifyConnection checks instead.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				err := verify(s)
				if err != nil && !errors.Is(err, ErrClock) {
					return fmt.Errorf("%w: %w", ErrImpostor, err)
				}
				return err
			}},
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the caller names the URL
		}
		return err
	}
	defer response.Body.Close()
	return read(response, out)
}

func read(response *http.Response, out any) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var r refusalAnswer
		if decode(body, &r) != nil || r.Error == "" {
			r.Error = "HTTP status " + response.Status
		}
		switch response.StatusCode {
		case http.StatusForbidden:
			return fmt.Errorf("%w: %.500s", ErrRefused, r.Error)
		case http.StatusBadRequest:
			return fmt.Errorf("%w: %.500s", ErrRequest, r.Error)
		}
		return fmt.Errorf("the control plane answered: %.500s", r.Error)
	}
	return decode(body, out)
}

// membership is what an answer with a renewal credential gives.
func (r answer) membership(csr []byte, now time.Time) (Membership, error) {
	m, err := r.verified(csr, now)
	if err == nil && !isSecret(r.Renewal) {
		return Membership{}, errors.New("the answer has no renewal credential")
	}
	return m, err
}

// attested is what an answer to a platform's token gives.
func (r answer) attested(csr []byte, now time.Time) (Membership, error) {
	m, err := r.verified(csr, now)
	if err == nil && r.Renewal != "" {
		return Membership{}, errors.New("the answer has a renewal credential that nobody asked for")
	}
	return m, err
}

// verified checks that the answer belongs together before anyone relies on it:
// the leaf is for our key, leads to the bundle, and says who the answer says.
func (r answer) verified(csr []byte, now time.Time) (Membership, error) {
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
	if r.Now.IsZero() {
		r.Now = now
	}
	path, err := verifyChain(chain, roots, x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		return Membership{}, fmt.Errorf("issued certificate: %w (this machine's clock is %s)", err, describeSkew(now.Sub(r.Now)))
	}
	trustDomain, err := trustDomainOf(path)
	if err != nil {
		return Membership{}, fmt.Errorf("trust bundle: %w", err)
	}
	id, err := PeerIdentity(chain[0], trustDomain)
	if err != nil {
		return Membership{}, fmt.Errorf("issued certificate: %w", err)
	}
	if leaf, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || !leaf.Equal(key) {
		return Membership{}, errors.New("the issued certificate is for another key")
	}
	if id.Workload.String() != r.Workload || id.ServiceAccount.String() != r.ServiceAccount {
		return Membership{}, errors.New("the answer does not fit the issued certificate")
	}
	return Membership{
		Certificates: []byte(r.Certificates), TrustBundle: []byte(r.TrustBundle), Renewal: r.Renewal,
		Workload: id.Workload, ServiceAccount: id.ServiceAccount, TrustDomain: trustDomain, Expires: chain[0].NotAfter,
		Signer: fingerprint(path[len(path)-1].Raw), Lifetime: chain[0].NotAfter.Sub(r.Now), Skew: now.Sub(r.Now),
	}, nil
}
