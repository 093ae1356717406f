package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	renewals = 1000
	// maxAnonymous is what a sidecar's own process may hold, in KiB.
	maxAnonymous = 10 << 10
)

// hasty is a join endpoint whose certificates are said to live for a moment, so
// that the sidecar renews at once. All else is the authority's.
type hasty struct {
	dummy *dummy
	// life is what is said, in nanoseconds.
	life   atomic.Int64
	issued atomic.Int64
	asked  atomic.Int64

	mu      sync.Mutex
	handler http.Handler
	left    int // requests until the limit of requests is forgotten
}

func (h *hasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	h.fresh().ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	var fields map[string]any
	if answer.Code == http.StatusOK && json.Unmarshal(body, &fields) == nil {
		if text, ok := fields["expires"].(string); ok {
			h.issued.Add(1)
			expires, _ := time.Parse(time.RFC3339, text)
			fields["now"] = expires.Add(-time.Duration(h.life.Load()))
			body, _ = json.Marshal(fields)
		} else {
			h.asked.Add(1)
		}
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// fresh replaces the handler before its limit of requests per caller is reached.
func (h *hasty) fresh() http.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left == 0 {
		h.left = 50
		h.handler = h.dummy.authority.Handler(func(n mesh.Name) (mesh.Name, bool) {
			return mesh.Name{Namespace: "shop", Name: "buyer"}, n == workload
		}, slog.New(slog.DiscardHandler))
	}
	h.left--
	return h.handler
}

// serveHasty has the dummy joined through it.
func serveHasty(t *testing.T, d *dummy) *hasty {
	t.Helper()
	h := &hasty{dummy: d}
	h.life.Store(int64(10 * time.Millisecond))
	config, err := d.authority.ServerTLS([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	server := &http.Server{Handler: h}
	go server.Serve(tls.NewListener(ln, config))
	t.Cleanup(func() { server.Close() })
	d.join = "https://" + ln.Addr().String()
	return h
}

// What a sidecar adds to each workload beside Envoy stays small, however long it
// lives.
func TestMemoryAfterRenewals(t *testing.T) {
	d := startDummy(t)
	h := serveHasty(t, d)
	token, err := d.authority.CreateToken(workload, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, d, newFolders(t), token)
	p.await(t, "the sidecar", p.ready)
	reach := func(what string, n *atomic.Int64, want int64, within time.Duration) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		for n.Load() < want {
			select {
			case <-ctx.Done():
				t.Fatalf("%d %s within %v, want %d", n.Load(), what, within, want)
			case <-p.ended:
				t.Fatal("the sidecar ended")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	began := time.Now()
	reach("renewals", &h.issued, renewals+1, 2*time.Minute)
	took := time.Since(began)
	// Then it asks for the roots as in a longer life.
	h.life.Store(int64(10 * time.Second))
	reach("questions", &h.asked, 3, 30*time.Second)
	anonymous := anonymousKiB(t, p.cmd.Process.Pid)
	t.Logf("%d renewals in %v, then %d KiB of anonymous memory", h.issued.Load(), took.Round(time.Millisecond), anonymous)
	if anonymous > maxAnonymous {
		t.Errorf("%d KiB of anonymous memory, want at most %d", anonymous, maxAnonymous)
	}
}

var rssAnon = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)

func anonymousKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("there is no /proc here")
	}
	found := rssAnon.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no RssAnon in %s", status)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
