package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// residentMB is this process's: control plane and flood alike.
func residentMB(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}

// flooder asks from an address of its own, without a proof: half of its tokens are
// such that only the API server can tell.
func flooder(from string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
	}}
}

// X9: ten thousand signing requests by strangers from a hundred addresses. Memory
// stays bounded, nobody gets a certificate, and an honest pod gets its own
// meanwhile.
func TestX9Flood(t *testing.T) {
	const all, addresses, workers = 10_000, 100, 64
	r := start(t, system(t))
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	token := good(t, pod)
	claims := fmt.Sprintf(`{"aud":["wasmesh.io"],"exp":%d,"kubernetes.io":{"pod":{"uid":"x"}}}`, time.Now().Add(time.Hour).Unix())
	likely := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	var bodies [2][]byte
	for i, text := range []string{"nonsense", likely} {
		csr := requestOf(t, x509.CertificateRequest{})
		bodies[i], _ = json.Marshal(map[string]any{"token": text, "csr": string(csr), "now": time.Now()})
	}
	before := residentMB(t)
	var next atomic.Int64
	var mu sync.Mutex
	answers := map[int]int{}
	var flood sync.WaitGroup
	began := time.Now()
	for range workers {
		flood.Go(func() {
			for n := next.Add(1); n <= all; n = next.Add(1) {
				code := 0
				response, err := flooder(fmt.Sprintf("127.185.1.%d", 1+n%addresses)).Post(r.join+"/v1/attest", "application/json", bytes.NewReader(bodies[n%2]))
				if err == nil {
					code = response.StatusCode
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
				mu.Lock()
				answers[code]++
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { flood.Wait(); close(ended) }()
	most, honest, slowest := before, 0, time.Duration(0)
	for done := false; !done; {
		asked := time.Now()
		_, err := enrol(r, token, x509.CertificateRequest{})
		if err == nil {
			honest, slowest = honest+1, max(slowest, time.Since(asked))
		} else if !strings.Contains(err.Error(), "the control plane could not do it") { // busy: the sidecar asks again
			t.Errorf("an honest pod: %v", err)
		}
		most = max(most, residentMB(t))
		select {
		case <-ended:
			done = true
		case <-time.After(200 * time.Millisecond):
		}
	}
	figures.Tell(t, "%d requests in %v: %v; %d honest certificates, the slowest in %v; resident %d MB, at most %d MB",
		all, time.Since(began).Round(time.Millisecond), answers, honest, slowest.Round(time.Millisecond), before, most)
	if answers[http.StatusOK] != 0 || answers[http.StatusForbidden] < all/2 {
		t.Errorf("answers %v", answers)
	}
	if honest < 3 || most-before > 128 {
		t.Errorf("%d honest certificates, %d MB more", honest, most-before)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines > 400 {
		t.Errorf("%d lines of log", lines)
	}
}
