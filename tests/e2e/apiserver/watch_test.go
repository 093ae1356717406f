package apiserver

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// between stands before the API server, counts what is asked of it, and spoils
// the answers that a test wants spoiled.
type between struct {
	t      *testing.T
	server *http.Server
	url    string
	proxy  http.Handler
	// expired counts what the API server itself called too old.
	expired atomic.Int64

	mu             sync.Mutex
	lists, watches int
	spoil          func(w http.ResponseWriter, r *http.Request) (done bool)
	streams        map[net.Conn]bool
}

// stand starts it, and writes a kubeconfig that leads to it.
func stand(t *testing.T, s *server) *between {
	t.Helper()
	target := &url.URL{Scheme: "https", Host: fmt.Sprintf("%s:%d", address, s.port)}
	b := &between{t: t, streams: map[net.Conn]bool{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Body = counting{r.Body, &b.expired}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	b.proxy = proxy
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	b.url = "http://" + l.Addr().String()
	b.server = &http.Server{Handler: b, ConnState: b.connection, ReadHeaderTimeout: time.Minute}
	go b.server.Serve(l)
	t.Cleanup(func() { b.server.Close() })
	s.write("between.kubeconfig", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x",
"clusters":[{"name":"x","cluster":{"server":%q}}],"users":[{"name":"x","user":{"token":"mesh"}}],
"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}]}`, b.url))
	return b
}

func (b *between) connection(c net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(b.streams, c)
	} else {
		b.streams[c] = true
	}
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A token goes over plain HTTP here: it never leaves this machine's loopback.
	r.Header.Set("Authorization", "Bearer mesh")
	b.mu.Lock()
	watching := r.URL.Query().Get("watch") != ""
	spoil := b.spoil
	switch {
	case watching:
		b.watches++
	case strings.Count(r.URL.Path, "/") > 2: // not discovery
		b.lists++
	}
	b.mu.Unlock()
	if watching && spoil != nil && spoil(w, r) {
		return
	}
	b.proxy.ServeHTTP(w, r)
}

// cut ends all connections, so that every watch begins anew, in the given way.
func (b *between) cut(spoil func(http.ResponseWriter, *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spoil, b.lists, b.watches = spoil, 0, 0
	for c := range b.streams {
		c.Close()
	}
}

func (b *between) counted() (lists, watches int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lists, b.watches
}

const expired = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}`

func code(w http.ResponseWriter, code int, body string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprint(w, body)
	return true
}

// TestWatchErrors: whatever becomes of watches, no object is lost, what happened
// meanwhile is seen afterwards, and the API server is not asked in a storm.
func TestWatchErrors(t *testing.T) {
	t.Parallel() // they wait, mostly
	s := start(t)
	s.roles()
	s.apply(definitions())
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(bookstore)
	b := stand(t, s)
	r := readAs(t, s, "between")
	r.has(5*time.Second, "the mesh is there", func(o smi.Objects, p []mesh.Problem) bool { return target(o, "buyers") && len(p) == 0 })
	before, _ := r.reload()
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"none": nil, // the twin
		"410":  func(w http.ResponseWriter, _ *http.Request) bool { return code(w, http.StatusGone, expired) },
		"410 said": func(w http.ResponseWriter, _ *http.Request) bool {
			return code(w, 200, `{"type":"ERROR","object":`+expired+`}`)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) bool { return code(w, 200, "\x00\xff<html>") },
		"closed":  func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"broken": func(w http.ResponseWriter, _ *http.Request) bool {
			return code(w, http.StatusInternalServerError, "oh")
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r.t = t
			spoiled(t, s, b, r, spoil, func() {})
			if after, _ := r.reload(); !same(before, after) {
				t.Error("an object was lost")
			}
		})
	}
	t.Run("compacted", func(t *testing.T) {
		r.t = t
		tooOld := b.expired.Load()
		// Who is told to wait asks for the same revision again.
		wait := func(w http.ResponseWriter, _ *http.Request) bool { return code(w, http.StatusTooManyRequests, "{}") }
		spoiled(t, s, b, r, wait, func() {
			s.stopAPI()
			s.compact(t)
			s.startAPI()
		})
		if b.expired.Load() == tooOld {
			t.Error("nothing was answered with 410: the case is not tested")
		}
		if after, _ := r.reload(); !same(before, after) {
			t.Error("an object was lost")
		}
	})
	t.Run("definition deleted", func(t *testing.T) { definitionDeleted(t, s, r) })
	t.Run("old stored version", func(t *testing.T) { oldStored(t, s, r) })
}

// spoiled has watches fail for a while, in which an object goes.
func spoiled(t *testing.T, s *server, b *between, r *reader, spoil func(http.ResponseWriter, *http.Request) bool, meanwhile func()) {
	t.Helper()
	const window = 2 * time.Second
	b.cut(spoil)
	began := time.Now()
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers")
	meanwhile()
	time.Sleep(window)
	lists, watches := b.counted()
	lasted := time.Since(began)
	b.cut(nil)
	took := r.has(20*time.Second, "what happened meanwhile is seen", func(o smi.Objects, p []mesh.Problem) bool {
		return !target(o, "buyers") && !problem(p, "cannot be watched")
	})
	figures.Tell(t, "%d lists and %d watches of 12 kinds in %v; caught up after %v", lists, watches, lasted.Round(time.Millisecond), took.Round(time.Millisecond))
	if most := 12 * (7 + 2*int(lasted/time.Second)); lists+watches > most || watches == 0 {
		t.Errorf("%d lists and %d watches, at most %d", lists, watches, most)
	}
	s.apply(bookstore)
	r.has(5*time.Second, "it is there again", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") })
}

// counting counts what says that a revision is too old.
type counting struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if bytes.Contains(p[:n], []byte("too old resource version")) {
		c.n.Add(1)
	}
	return n, err
}
