package ca

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// known is the mesh of these tests: one workload.
func known(n mesh.Name) (mesh.Name, bool) { return account, n == client }

// serve runs a's join endpoint on loopback until the test ends.
func serve(t *testing.T, a *Authority, lookup Lookup) (base string, log *journal) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log = &journal{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- a.Serve(ctx, ln, []string{"127.0.0.1"}, lookup, slog.New(slog.NewTextHandler(log, nil)))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "https://" + ln.Addr().String(), log
}

func at(base string) Client { return Client{URL: base} }

func csr(t testing.TB) []byte { return request(t, newKey(t), x509.CertificateRequest{}) }

func TestJoinAndRenew(t *testing.T) {
	a, _ := open(t)
	base, log := serve(t, a, known)
	ctx := context.Background()
	text := token(t, a)
	joined, err := at(base).Join(ctx, text, csr(t))
	if err != nil {
		t.Fatal(err)
	}
	if joined.Workload != client || joined.ServiceAccount != account || joined.TrustDomain != testDomain || !bytes.Equal(joined.TrustBundle, a.TrustBundle()) {
		t.Fatalf("joined as %v", joined)
	}
	renewed, err := at(base).Renew(ctx, joined, csr(t))
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Renewal == joined.Renewal || bytes.Equal(renewed.Certificates, joined.Certificates) {
		t.Fatal("nothing was renewed")
	}
	if _, err := at(base).Renew(ctx, joined, csr(t)); err != nil {
		t.Fatalf("the old credential ended before the new one was used: %v", err)
	}
	if _, err := at(base).Renew(ctx, renewed, csr(t)); err != nil {
		t.Fatal(err)
	}
	_, err = at(base).Renew(ctx, joined, csr(t))
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("the old credential outlived the use of the new one: %v", err)
	}
	for _, secret := range []string{text[strings.LastIndexByte(text, '.')+1:], joined.Renewal, renewed.Renewal} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log tells a secret")
		}
	}
}

// The caller must not learn from the answer what the log says.
func TestRefusalsLookAlike(t *testing.T) {
	a, clock := open(t)
	base, log := serve(t, a, known)
	ctx := context.Background()
	used, expired := token(t, a), token(t, a)
	if _, err := at(base).Join(ctx, used, csr(t)); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(expired, ".")
	parts[3] = newSecret()
	wrong := strings.Join(parts, ".")
	answers := map[string]bool{}
	for _, c := range []struct{ text, reason string }{{used, "used already"}, {wrong, "wrong secret"}, {expired, "expired"}} {
		if c.text == expired {
			clock.advance(2 * time.Hour)
		}
		_, err := at(base).Join(ctx, c.text, csr(t))
		if !errors.Is(err, ErrRefused) {
			t.Fatalf("%s: %v", c.reason, err)
		}
		answers[err.Error()] = true
		if !strings.Contains(log.String(), c.reason) {
			t.Errorf("the log lacks %q:\n%s", c.reason, log)
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
	if !strings.Contains(log.String(), "workload="+client.String()) || !strings.Contains(log.String(), "remote=127.0.0.1:") {
		t.Errorf("the log lacks the workload or the caller:\n%s", log)
	}
}

func TestUnknownWorkloadKeepsItsToken(t *testing.T) {
	a, _ := open(t)
	var mu sync.Mutex
	var there bool
	base, _ := serve(t, a, func(n mesh.Name) (mesh.Name, bool) {
		mu.Lock()
		defer mu.Unlock()
		return account, there
	})
	text := token(t, a)
	_, err := at(base).Join(context.Background(), text, csr(t))
	if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "manifest") {
		t.Fatalf("got %v", err)
	}
	mu.Lock()
	there = true
	mu.Unlock()
	if _, err := at(base).Join(context.Background(), text, csr(t)); err != nil {
		t.Fatal(err)
	}
}

// A server of another mesh must not even see the token.
func TestForeignServer(t *testing.T) {
	a, _ := open(t)
	foreign, _ := open(t)
	base, log := serve(t, foreign, known)
	_, err := at(base).Join(context.Background(), token(t, a), csr(t))
	if !errors.Is(err, ErrImpostor) || strings.Contains(log.String(), "path=") {
		t.Fatalf("join: %v\n%s", err, log)
	}
	m := Membership{TrustBundle: a.TrustBundle(), Workload: client, Renewal: newSecret()}
	if _, err := at(base).Renew(context.Background(), m, csr(t)); !errors.Is(err, ErrImpostor) {
		t.Fatalf("renew: %v", err)
	}
}

// A workload has a leaf of the right root that is good for servers. It is not
// the control plane for that.
func TestWorkloadCannotPoseAsControlPlane(t *testing.T) {
	a, _ := open(t)
	key := newKey(t)
	issued, err := a.Issue(key.Public(), buyer, 0)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{leafOf(t, issued.Chain).Raw, a.roots.Load().signer.Raw}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan []byte, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			seen <- nil
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		got, _ := io.ReadAll(io.LimitReader(c, 1))
		seen <- got
	}()
	_, err = at("https://"+ln.Addr().String()).Join(context.Background(), token(t, a), csr(t))
	ln.Close()
	if !errors.Is(err, ErrImpostor) || !strings.Contains(err.Error(), "sa/controlplane") || len(<-seen) != 0 {
		t.Fatalf("got %v", err)
	}
}

func TestRequestLimits(t *testing.T) {
	a, _ := open(t)
	base, _ := serve(t, a, known)
	config := &tls.Config{RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS13}
	config.RootCAs.AddCert(a.roots.Load().signer)
	post := func(path, body string) int {
		t.Helper()
		c := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
		r, err := c.Post(base+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	for body, want := range map[string]int{
		strings.Repeat("a", maxBody+1):  400,
		"{}":                            400,
		"[]":                            400,
		`{"token":1}`:                   400,
		`{} {}`:                         400,
		`{"csr":"x","token":"wmjoin1"}`: 400,
	} {
		if got := post(joinPath, body); got != want {
			t.Errorf("%.40q: status %d, want %d", body, got, want)
		}
	}
	if got := post("/", "{}"); got != 404 {
		t.Errorf("unknown path: status %d", got)
	}
	flooded := false
	for range 2*burst + 10 {
		if flooded = post(renewPath, "{}") == 429; flooded {
			break
		}
	}
	if !flooded {
		t.Error("no flood is ever refused")
	}
	config.MaxVersion = tls.VersionTLS12
	if _, err := tls.Dial("tcp", base[len("https://"):], config); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}
