package badinput

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// openOffice starts a mesh without sidecars: a control plane to join at.
func openOffice(t *testing.T) (*shop, *ca.Authority) {
	t.Helper()
	s := openShop(t, func(_ *shop, o *rig.Options) { o.Workloads = nil })
	return s, s.authority(t)
}

// authority is the running control plane's, opened beside it as the command
// that makes tokens does.
func (s *shop) authority(t *testing.T) *ca.Authority {
	t.Helper()
	authority, err := ca.Open(s.StateFolder(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// badToken is a token that must buy nothing, and what is said of it.
type badToken struct {
	name, token string
	// sidecar and log are what the caller's own process and the control plane say.
	sidecar, log []string
}

func badTokens(t *testing.T, s *shop, authority *ca.Authority) []badToken {
	t.Helper()
	create := func(a *ca.Authority, ttl time.Duration) string {
		token, err := a.CreateToken(buyer, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	foreign, err := ca.Open(t.TempDir()+"/state", ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	one, two, used := create(authority, time.Hour), create(authority, time.Hour), create(authority, time.Hour)
	expired := create(authority, time.Nanosecond)
	if status, _ := s.post(t, used, request(t)); status != http.StatusOK {
		t.Fatalf("a good token was answered %d", status)
	}
	refused := []string{"refused", "not valid"}
	return []badToken{
		// The identifier of the one with the secret of the other.
		{"wrong", one[:strings.LastIndex(one, ".")] + two[strings.LastIndex(two, "."):], refused, []string{"refused", "shop/buyer", "wrong secret"}},
		{"used", used, refused, []string{"refused", "shop/buyer", "used already"}},
		{"expired", expired, refused, []string{"refused", "shop/buyer", "expired at"}},
		{"foreign", create(foreign, time.Hour), []string{"not the control plane of this mesh", "the root that the token names"}, []string{"refused", "another root"}},
	}
}

// A token that does not hold buys nothing; its holder learns that much and no
// more, the operator learns why.
func TestBadTokensAreRefused(t *testing.T) {
	s, authority := openOffice(t)
	csr := request(t)
	uniform := ""
	for _, b := range badTokens(t, s, authority) {
		t.Run(b.name, func(t *testing.T) {
			status, body := s.post(t, b.token, csr)
			if uniform == "" {
				uniform = body
			}
			if status != http.StatusForbidden || body != uniform {
				t.Errorf("the answer is %d %s, want 403 %s", status, body, uniform)
			}
			for _, told := range []string{"buyer", "secret", "used", "expired", "root"} {
				if strings.Contains(body, told) {
					t.Errorf("the answer tells %q: %s", told, body)
				}
			}
			s.logged(b.log...)
			s.joinWith(t, b.token).says(t, 1, b.sidecar...)
		})
	}
	s.joinWith(t, "wmjoin1.half").says(t, 1, "this is not a join token")
	s.joinWith(t, "").says(t, 1, "neither a join token nor a renewal credential", "wasmesh token create")
	if status, err := s.Status(t.Context()); err != nil || len(status.Proxies) > 0 {
		t.Errorf("somebody joined: %+v, %v", status.Proxies, err)
	}
}

// A token for a workload without a manifest is good, and waits for the manifest.
func TestTokenForAWorkloadThatDoesNotExistWaits(t *testing.T) {
	s, authority := openOffice(t)
	late := mesh.Name{Namespace: "shop", Name: "late"}
	token, err := authority.CreateToken(late, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Join(late, token); err != nil {
		t.Fatal(err)
	}
	s.logged("refused", "shop/late", "does not know this workload yet", "add or correct its manifest")
	s.must(applyTimeout, "the sidecar to say for what it waits", func(context.Context) error {
		said, err := s.SidecarLog(late)
		if err == nil && !strings.Contains(said, "add or correct its manifest") {
			err = os.ErrNotExist
		}
		return err
	})
	s.edit("late.yaml", `apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: late, namespace: shop}
spec: {serviceAccount: buyer, address: 127.62.0.4, application: 127.63.0.4, loopback: 127.94.0.0/16}
`)
	if err := s.AwaitReady(late); err != nil {
		t.Error(err)
	}
}

// joinWith runs a sidecar that has nothing but a token, to its end.
func (s *shop) joinWith(t *testing.T, token string) outcome {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	o := command(t, dir, programs.Sidecar, s.sidecarArguments(file, filepath.Join(dir, "state"), filepath.Join(dir, "run"))...)
	for _, path := range filesBelow(t, filepath.Join(dir, "run")) {
		if filepath.Base(path) != "lock" {
			t.Errorf("%s was left in the run folder", path)
		}
	}
	return o
}

func (s *shop) sidecarArguments(token, state, run string) []string {
	return []string{
		"--join-url", "https://" + s.JoinAddress(), "--xds", s.XDSAddress(), "--token-file", token,
		"--state", state, "--run", run, "--registry", s.RegistryAddress(), "--envoy", programs.Envoy,
	}
}

// post speaks the join protocol as a stranger would.
func (s *shop) post(t *testing.T, token, csr string) (status int, body string) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"token": token, "csr": csr})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.JoinAddress()+"/v1/join", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	// A stranger does not know the root yet.
	stranger := http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}
	response, err := stranger.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is a signing request, PEM.
func request(t *testing.T) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}
