package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// TestStrangersReachProbesOnly: whoever asks gets the pod's own probe performed,
// and nothing that he sends, or the application answers, passes.
func TestStrangersReachProbesOnly(t *testing.T) {
	var got atomic.Pointer[http.Request]
	port := serveApplication(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		w.Header().Set("X-Secret", "secret")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "secret")
	}), nil)
	path := probe.Path("app", probe.Readiness)
	p := &prober{pod: theApplication, actions: map[string]probe.Action{path: {HTTP: &probe.HTTP{Port: port, Path: "/ready?own=1"}}}}
	r := httptest.NewRequest(http.MethodGet, path+"?stranger=1", strings.NewReader("stranger"))
	for _, name := range []string{"Cookie", "Authorization", "X-Forwarded-For", "User-Agent", "Accept"} {
		r.Header.Set(name, "stranger")
	}
	r.Host = "stranger"
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusTeapot || strings.Contains(w.Body.String(), "secret") || w.Header().Get("X-Secret") != "" {
		t.Errorf("the answer: %d %v %s", w.Code, w.Header(), w.Body)
	}
	seen := got.Load()
	if seen.URL.String() != "/ready?own=1" || seen.Host == "stranger" || seen.ContentLength != 0 || seen.UserAgent() != "kube-probe/" {
		t.Errorf("the application saw %s %s of %d bytes, %s", seen.Host, seen.URL, seen.ContentLength, seen.UserAgent())
	}
	for name, values := range seen.Header {
		if strings.Contains(strings.Join(values, ""), "stranger") {
			t.Errorf("the application saw %s: %s", name, values)
		}
	}
}

// TestAnswersOfNoProtocol: what listens there may be no HTTP server; its greeting
// is not passed on.
func TestAnswersOfNoProtocol(t *testing.T) {
	l, err := net.Listen("tcp", theApplication+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "secret 1.0\r\n\r\n")
			_ = c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for _, a := range []probe.Action{{HTTP: &probe.HTTP{Port: port}}, {HTTP: &probe.HTTP{Port: port, TLS: true}}, {GRPC: &probe.GRPC{Port: port}}} {
		if code, text := asked(t, a); code != http.StatusServiceUnavailable || strings.Contains(text, "secret") {
			t.Errorf("%d %s", code, text)
		}
	}
}

// TestManyAskers: the application is asked once at a time, and no more than ten
// times a second; who leaves takes nobody's answer with him.
func TestManyAskers(t *testing.T) {
	var s shared
	var runs, on, most atomic.Int64
	release := make(chan struct{})
	do := func() (int, error) {
		runs.Add(1)
		most.Store(max(most.Load(), on.Add(1)))
		defer on.Add(-1)
		<-release
		return 7, errors.New("why")
	}
	gone, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = gone
			}
			if code, err, ok := s.ask(ctx, "a", do); ok != (i%2 == 1) || ok && (code != 7 || err == nil) {
				t.Errorf("%d: %d %v %v", i, code, err, ok)
			}
		})
	}
	eventually(t, "the first run", func() bool { return on.Load() == 1 })
	time.Sleep(50 * time.Millisecond)
	leave()
	time.Sleep(50 * time.Millisecond)
	close(release)
	all.Wait()
	if runs.Load() != 1 || most.Load() != 1 {
		t.Fatalf("%d runs, %d at a time", runs.Load(), most.Load())
	}
	for began := time.Now(); time.Since(began) < 450*time.Millisecond; time.Sleep(time.Millisecond) {
		_, _, _ = s.ask(t.Context(), "a", do)
	}
	if n := runs.Load(); n < 3 || n > 6 {
		t.Errorf("%d runs in less than half a second", n)
	}
}

// TestStrangerDoesNotKeepOthersOut: with all connections taken by one address,
// another one is answered.
func TestStrangerDoesNotKeepOthersOut(t *testing.T) {
	const address = "127.186.0.4:15020"
	end, err := Options{Probes: address, Log: quiet}.serveHealth(&health{stopping: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	from := func(ip string) net.Dialer {
		return net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 5 * time.Second}
	}
	stranger, kubelet := from("127.186.0.5"), from("127.186.0.6")
	for range 2 * maxHealth {
		c, err := stranger.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	client := http.Client{Transport: &http.Transport{DialContext: kubelet.DialContext, DisableKeepAlives: true}, Timeout: healthTimeout / 2}
	for range 10 {
		r, err := client.Get("http://" + address + "/else")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
	}
}
