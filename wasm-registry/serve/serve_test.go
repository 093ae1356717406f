package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// bench is the handler over TLS, where the header Caller says who asks.
type bench struct {
	*httptest.Server
	store      store.Store
	until      time.Time
	err        error
	references References
}

func open(t *testing.T) *bench {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{store: s, until: time.Now().Add(time.Hour)}
	b.references = func(string) ([]string, bool, <-chan struct{}) { return nil, true, nil }
	caller := func(tls.ConnectionState) (string, time.Time, error) { return "shop/store", b.until, b.err }
	references := func(name string) ([]string, bool, <-chan struct{}) { return b.references(name) }
	b.Server = httptest.NewTLSServer(Handler(s, caller, references, slog.New(slog.DiscardHandler)))
	t.Cleanup(b.Close)
	return b
}

func (b *bench) get(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := b.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestBytesNeverChangeAndAreNotSentTwice(t *testing.T) {
	b := open(t)
	digest, err := b.store.Put([]byte("module"))
	if err != nil {
		t.Fatal(err)
	}
	b.references = func(string) ([]string, bool, <-chan struct{}) { return []string{digest}, true, nil }
	response, body := b.get(t, http.MethodGet, BytesPath+digest)
	if response.StatusCode != http.StatusOK || body != "module" || response.Header.Get("ETag") != `"`+digest+`"` {
		t.Errorf("%s %q %v", response.Status, body, response.Header)
	}
	if response, body := b.get(t, http.MethodHead, BytesPath+digest); response.StatusCode != http.StatusOK || body != "" || response.ContentLength != 6 {
		t.Errorf("HEAD: %s %q, %d bytes", response.Status, body, response.ContentLength)
	}
	if response, body := b.get(t, http.MethodGet, BytesPath+digest, "If-None-Match", `"`+digest+`"`); response.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("again: %s %q", response.Status, body)
	}
	if response, _ := b.get(t, http.MethodPut, BytesPath+digest); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %s", response.Status)
	}
}

func TestWhoCannotBeNamedGetsNothing(t *testing.T) {
	b := open(t)
	digest, err := b.store.Put([]byte("module"))
	if err != nil {
		t.Fatal(err)
	}
	b.references = func(string) ([]string, bool, <-chan struct{}) { return []string{digest}, true, nil }
	b.err = errors.New("not of this mesh")
	for _, path := range []string{ListPath, BytesPath + digest} {
		if response, _ := b.get(t, http.MethodGet, path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	plain := httptest.NewRecorder()
	b.Config.Handler.ServeHTTP(plain, httptest.NewRequest(http.MethodGet, ListPath, nil).WithContext(t.Context()))
	if plain.Code != http.StatusNotFound {
		t.Errorf("without TLS: %d", plain.Code)
	}
}

// Who may not have a module does not learn that there is one.
func TestWhatIsNotNamedDoesNotExist(t *testing.T) {
	b := open(t)
	secret, err := b.store.Put([]byte("another's"))
	if err != nil {
		t.Fatal(err)
	}
	gone := store.Digest([]byte("gone"))
	b.references = func(string) ([]string, bool, <-chan struct{}) { return []string{gone}, true, nil }
	var answers []string
	for _, digest := range []string{secret, store.Digest([]byte("never was")), gone} {
		response, body := b.get(t, http.MethodGet, BytesPath+digest)
		answers = append(answers, response.Status+body+response.Header.Get("ETag")+response.Header.Get("Cache-Control"))
	}
	if answers[0] != answers[1] || answers[0] != answers[2] || !strings.HasPrefix(answers[0], "404") {
		t.Errorf("the answers differ: %q", answers)
	}
}

func TestAWaitEndsWithNewsOrTimeOrTheCertificate(t *testing.T) {
	b := open(t)
	changed := make(chan struct{})
	b.references = func(string) ([]string, bool, <-chan struct{}) { return nil, true, changed }
	first, _ := b.get(t, http.MethodGet, ListPath)
	tag := first.Header.Get("ETag")
	began := time.Now()
	if response, _ := b.get(t, http.MethodGet, ListPath, "If-None-Match", tag, WaitHeader, "1"); response.StatusCode != http.StatusNotModified || time.Since(began) < 900*time.Millisecond {
		t.Errorf("%s after %v", response.Status, time.Since(began))
	}
	b.until = time.Now().Add(200 * time.Millisecond)
	began = time.Now()
	b.get(t, http.MethodGet, ListPath, "If-None-Match", tag, WaitHeader, "30")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the question outlived its certificate by %v", took)
	}
	// A change that changes nothing for this caller is no news.
	b.until = time.Now().Add(time.Hour)
	close(changed)
	b.references = func(string) ([]string, bool, <-chan struct{}) { return nil, true, make(chan struct{}) }
	if response, _ := b.get(t, http.MethodGet, ListPath, "If-None-Match", tag); response.StatusCode != http.StatusNotModified {
		t.Errorf("no news: %s", response.Status)
	}
}

func TestOneCallerCannotTakeAllPlaces(t *testing.T) {
	b := open(t)
	asked := make(chan struct{}, 2*maxQuestions)
	b.references = func(string) ([]string, bool, <-chan struct{}) {
		asked <- struct{}{}
		return nil, true, make(chan struct{})
	}
	first, _ := b.get(t, http.MethodGet, ListPath)
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxQuestions {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+ListPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("If-None-Match", first.Header.Get("ETag"))
		request.Header.Set(WaitHeader, "60")
		go func() {
			if response, err := b.Client().Do(request); err == nil {
				response.Body.Close()
			}
		}()
		<-asked
	}
	if response, _ := b.get(t, http.MethodGet, ListPath); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %s", response.Status)
	}
}

func TestServeDemandsCertificates(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	err = Serve(t.Context(), l, &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven}, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "does not verify client certificates") {
		t.Errorf("got %v", err)
	}
}

// A control plane that starts tells nobody that there is nothing: a sidecar would
// take it at its word.
func TestWhatIsNotKnownYetIsNotNothing(t *testing.T) {
	b := open(t)
	started := make(chan struct{})
	var known atomic.Bool
	b.references = func(string) ([]string, bool, <-chan struct{}) { return []string{"aa"}, known.Load(), started }
	if response, _ := b.get(t, http.MethodGet, ListPath); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before it is known: %s", response.Status)
	}
	time.AfterFunc(50*time.Millisecond, func() { known.Store(true); close(started) })
	if response, body := b.get(t, http.MethodGet, ListPath, WaitHeader, "20"); response.StatusCode != http.StatusOK || !strings.Contains(body, "aa") {
		t.Errorf("once it is known: %s %s", response.Status, body)
	}
}
