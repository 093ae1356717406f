package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// platform vouches for the tokens "pod:<name>" of the pods that it has.
type platform struct {
	pods  map[string]bool
	down  bool
	asked atomic.Int32
}

func (p *platform) attest(_ context.Context, token string) (Identity, error) {
	p.asked.Add(1)
	name, ok := strings.CutPrefix(token, "pod:")
	switch {
	case p.down:
		return Identity{}, errors.New("the API server does not answer")
	case !ok || !p.pods[name]:
		return Identity{}, refuse("no pod %.20q", name)
	}
	return Identity{ServiceAccount: account, Workload: mesh.Name{Namespace: account.Namespace, Name: name}, Kind: KindPod}, nil
}

func (p *platform) names() (names []mesh.Name) {
	for name := range p.pods {
		names = append(names, mesh.Name{Namespace: account.Namespace, Name: name})
	}
	return names
}

func openOn(t *testing.T, p *platform) (*Authority, *clock) {
	t.Helper()
	c := &clock{t: time.Now()}
	a, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, Now: c.now, Attest: p.attest, Pods: p.names})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

func TestAttest(t *testing.T) {
	p := &platform{pods: map[string]bool{"web-0": true}}
	a, _ := openOn(t, p)
	base, log := serve(t, a, known)
	// The request asks for another's identity, and to be an authority.
	wanted := &url.URL{Scheme: "spiffe", Host: testDomain, Path: "/ns/other/sa/admin"}
	greedy := request(t, newKey(t), x509.CertificateRequest{URIs: []*url.URL{wanted}, DNSNames: []string{"db.pod.other.peer.wasmesh.internal"}})
	m, err := at(base).Attest(context.Background(), "pod:web-0", a.TrustBundle(), greedy)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, m.Certificates)
	id, err := PeerIdentity(leaf, testDomain)
	want := Identity{ServiceAccount: account, Workload: mesh.Name{Namespace: account.Namespace, Name: "web-0"}, Kind: KindPod}
	if err != nil || id != want || leaf.IsCA || m.Renewal != "" {
		t.Errorf("certified as %v, authority %v, renewal %q, %v", id, leaf.IsCA, m.Renewal, err)
	}
	for token, reason := range map[string]string{"pod:gone": "no pod", "": "empty", strings.Repeat("x", maxPlatformToken+1): "more than"} {
		_, err := at(base).Attest(context.Background(), token, a.TrustBundle(), csr(t))
		if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), reason) || !strings.Contains(log.String(), reason) {
			t.Errorf("%.20q: %v\n%s", token, err, log)
		}
	}
	p.down = true
	if _, err := at(base).Attest(context.Background(), "pod:web-0", a.TrustBundle(), csr(t)); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("a platform that is away is a refusal, or none at all: %v", err)
	}
	if strings.Contains(log.String(), "pod:web-0") {
		t.Error("the log tells a token")
	}
}

// A pod that was just replaced by nothing gets no certificate, though its token
// was good a moment ago.
func TestAttestationIsNotRemembered(t *testing.T) {
	p := &platform{pods: map[string]bool{"web-0": true}}
	a, _ := openOn(t, p)
	base, _ := serve(t, a, known)
	if _, err := at(base).Attest(context.Background(), "pod:web-0", a.TrustBundle(), csr(t)); err != nil {
		t.Fatal(err)
	}
	delete(p.pods, "web-0")
	if _, err := at(base).Attest(context.Background(), "pod:web-0", a.TrustBundle(), csr(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// Without a platform there is nothing at that path.
func TestNoPlatform(t *testing.T) {
	a, _ := open(t)
	base, _ := serve(t, a, known)
	_, err := at(base).Attest(context.Background(), "pod:web-0", a.TrustBundle(), csr(t))
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("attest: %v", err)
	}
	if _, _, err := at(base).AttestedRoots(context.Background(), "pod:web-0", a.TrustBundle(), Holding{}); !errors.Is(err, ErrRefused) {
		t.Errorf("roots: %v", err)
	}
}

// A token goes to nobody but the control plane of the roots that are known.
func TestAttestToImpostor(t *testing.T) {
	p := &platform{pods: map[string]bool{"web-0": true}}
	a, _ := openOn(t, p)
	other, _ := openOn(t, p)
	base, _ := serve(t, a, known)
	if _, err := at(base).Attest(context.Background(), "pod:web-0", other.TrustBundle(), csr(t)); !errors.Is(err, ErrImpostor) {
		t.Errorf("got %v", err)
	}
	if p.asked.Load() != 0 {
		t.Error("the impostor got the token")
	}
}

// A rotation waits for pods as it does for workloads, and a question for the
// roots costs the platform one in ten minutes.
func TestRotationWaitsForPods(t *testing.T) {
	p := &platform{pods: map[string]bool{"web-0": true}}
	a, clock := openOn(t, p)
	base, _ := serve(t, a, known)
	first := a.TrustBundle()
	m, err := at(base).Attest(context.Background(), "pod:web-0", first, csr(t))
	if err != nil {
		t.Fatal(err)
	}
	tell := func(roots []byte, signer string) []byte {
		t.Helper()
		trusts, _ := Fingerprints(roots)
		bundle, _, err := at(base).AttestedRoots(context.Background(), "pod:web-0", first, Holding{Trusts: trusts, Signer: signer})
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	rotate(t, a, Start)
	if _, err := a.Rotate(Switch, false); !errors.Is(err, ErrNotYet) || !strings.Contains(err.Error(), "web-0") {
		t.Fatalf("nobody waited for the pod: %v", err)
	}
	asked := p.asked.Load()
	both := tell(first, m.Signer)
	if _, err := a.Rotate(Switch, false); !errors.Is(err, ErrNotYet) {
		t.Fatalf("the pod's Envoy trusts one root, and the step was made: %v", err)
	}
	tell(both, m.Signer)
	if n := p.asked.Load() - asked; n != 0 {
		t.Errorf("two questions for the roots cost the platform %d", n)
	}
	rotate(t, a, Switch)
	m, err = at(base).Attest(context.Background(), "pod:web-0", both, csr(t))
	if err != nil || m.Signer != a.Fingerprint() || !bytes.Equal(m.TrustBundle, both) {
		t.Fatalf("after the switch: %v", err)
	}
	tell(both, m.Signer)
	rotate(t, a, Finish)
	clock.advance(recallFor)
	delete(p.pods, "web-0")
	if _, _, err := (Client{URL: base, Now: clock.now}).AttestedRoots(context.Background(), "pod:web-0", both, Holding{}); !errors.Is(err, ErrRefused) {
		t.Errorf("a token is believed for ever: %v", err)
	}
}

// A pod and a workload of one name are two, and neither speaks for the other.
func TestPodIsNotTheWorkloadOfItsName(t *testing.T) {
	p := &platform{pods: map[string]bool{client.Name: true}}
	a, _ := openOn(t, p)
	base, _ := serve(t, a, known)
	if _, err := at(base).Join(context.Background(), token(t, a), csr(t)); err != nil {
		t.Fatal(err)
	}
	rotate(t, a, Start)
	trusts, _ := Fingerprints(a.TrustBundle())
	if _, _, err := at(base).AttestedRoots(context.Background(), "pod:"+client.Name, a.TrustBundle(), Holding{Trusts: trusts}); err != nil {
		t.Fatal(err)
	}
	r, err := a.Rotation()
	if err != nil || len(r.Waiting) != 1 || r.Waiting[0].Kind != KindWorkload {
		t.Errorf("waiting %v, %v", r.Waiting, err)
	}
}

func FuzzAttestRequest(f *testing.F) {
	p := &platform{pods: map[string]bool{"web-0": true}}
	a, err := Open(filepath.Join(f.TempDir(), "state"), Options{TrustDomain: testDomain, Attest: p.attest})
	if err != nil {
		f.Fatal(err)
	}
	request := strings.ReplaceAll(string(csr(f)), "\n", `\n`)
	f.Add(`{"token":"pod:gone","csr":"` + request + `"}`)
	f.Add(`{"token":"pod:web-0","csr":"x"}`)
	f.Add(`{"token":1}`)
	f.Add(`{"token":"` + strings.Repeat("x", maxPlatformToken+1) + `","csr":"` + request + `"}`)
	h := a.Handler(known, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", attestPath, strings.NewReader(body))
		r.RemoteAddr = ""
		h.ServeHTTP(w, r)
		named := strings.Contains(body, "pod:web-0") && strings.Contains(body, "CERTIFICATE REQUEST")
		if w.Code != 400 && w.Code != 403 && w.Code != 429 && !(w.Code == 200 && named) {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}
