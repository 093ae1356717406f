// Package serve gives modules to the sidecars whose configuration names them.
//
//	GET /modules/                 what the caller's configuration names, as JSON
//	GET /modules/sha256/<digest>  the bytes, which never change
//
// It must never say whether a module exists to a caller that may not have it,
// never serve anybody whose certificate it cannot name, and never hold a module
// in memory.
package serve

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// ListPath is where a sidecar asks what it should have, BytesPath where the
// modules are, each below it by its digest.
const (
	ListPath  = "/modules/"
	BytesPath = "/modules/sha256/"
	// WaitHeader bounds, in whole seconds, how long an answer to a question with
	// If-None-Match may wait for news.
	WaitHeader = "Wasmesh-Wait"
)

const (
	// maxWaiting are connections whose request is not here yet; of more, the oldest
	// is closed.
	maxWaiting = 256
	// maxConnections are mostly sidecars that wait for news, one connection each.
	maxConnections = 8192
	// maxTransfers bounds what is read from the disk at once.
	maxTransfers = 64
	// maxQuestions are what one caller may have open; a sidecar has one.
	maxQuestions  = 4
	maxHeaders    = 8 << 10 // bytes
	headerTimeout = 5 * time.Second
	// transferTimeout is for a module of 64 MB on a slow line.
	transferTimeout = 2 * time.Minute
	maxWait         = time.Minute
	stopTimeout     = 2 * time.Second
)

// Caller says who is at the other end, and until when its certificate holds.
type Caller func(tls.ConnectionState) (name string, until time.Time, err error)

// References returns the digests that the configuration of a caller names, and a
// channel that is closed when they may have changed. Until they are known, as
// while a control plane starts, nobody is told that there are none.
type References func(name string) (digests []string, known bool, changed <-chan struct{})

// List is the answer at ListPath.
type List struct {
	Modules []string `json:"modules"`
}

// Handler serves what is in the store to whoever may have it.
func Handler(s store.Store, caller Caller, references References, log *slog.Logger) http.Handler {
	e := &endpoint{store: s, caller: caller, references: references, log: log, transfers: make(chan struct{}, maxTransfers), open: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ListPath+"{$}", e.identified(e.list))
	mux.HandleFunc("GET "+BytesPath+"{digest}", e.identified(e.bytes))
	return mux
}

type endpoint struct {
	store      store.Store
	caller     Caller
	references References
	log        *slog.Logger
	transfers  chan struct{}

	mu   sync.Mutex
	open map[string]int // questions, by caller
}

// enter counts a question of a caller in.
func (e *endpoint) enter(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open[name] >= maxQuestions {
		return false
	}
	e.open[name]++
	return true
}

func (e *endpoint) leave(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open[name]--; e.open[name] == 0 {
		delete(e.open, name)
	}
}

func busy(w http.ResponseWriter, cause string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, cause+"; try again in a second", http.StatusServiceUnavailable)
}

// identified names the caller before anything else is looked at.
func (e *endpoint) identified(act func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			http.NotFound(w, r)
			return
		}
		name, until, err := e.caller(*r.TLS)
		if err != nil {
			e.log.Warn("modules: a caller was refused", "remote", r.RemoteAddr, "cause", err)
			http.NotFound(w, r)
			return
		}
		if !e.enter(name) {
			busy(w, "too many requests at once")
			return
		}
		defer e.leave(name)
		door.Heard(r)
		// What is open ends with the certificate that opened it.
		ctx, cancel := context.WithDeadline(r.Context(), until)
		defer cancel()
		act(w, r.WithContext(ctx), name)
	}
}

func (e *endpoint) list(w http.ResponseWriter, r *http.Request, name string) {
	wait, _ := strconv.Atoi(r.Header.Get(WaitHeader))
	timeout := time.NewTimer(min(time.Duration(max(wait, 0))*time.Second, maxWait))
	defer timeout.Stop()
	for {
		digests, known, changed := e.references(name)
		tag := tagOf(digests)
		if known && r.Header.Get("If-None-Match") != tag {
			w.Header().Set("ETag", tag)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(List{append([]string{}, digests...)}) // who went away asks again
			return
		}
		select {
		case <-changed:
			continue
		case <-timeout.C:
		case <-r.Context().Done():
		}
		if !known {
			busy(w, "the control plane is starting")
			return
		}
		w.Header().Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
		return
	}
}

// tagOf names a list by its content: any replica makes the same.
func tagOf(digests []string) string {
	sum := sha256.Sum256([]byte(strings.Join(digests, ",")))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

func (e *endpoint) bytes(w http.ResponseWriter, r *http.Request, name string) {
	digest := r.PathValue("digest")
	if !e.named(name, digest) {
		e.log.Warn("modules: not named by the caller's configuration", "workload", name, "module", fmt.Sprintf("%.64q", digest))
		http.NotFound(w, r)
		return
	}
	select {
	case e.transfers <- struct{}{}:
		defer func() { <-e.transfers }()
	default:
		busy(w, "too many requests at once")
		return
	}
	f, err := e.store.Open(digest)
	if err != nil {
		e.log.Error("modules: one that is named cannot be served", "workload", name, "module", digest, "cause", err)
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/wasm")
	w.Header().Set("ETag", `"`+digest+`"`)
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (e *endpoint) named(name, digest string) bool {
	digests, _, _ := e.references(name)
	for _, d := range digests {
		if d == digest {
			return true
		}
	}
	return false
}

// Serve answers on ln until ctx ends. The TLS configuration must demand and
// verify client certificates.
func Serve(ctx context.Context, ln net.Listener, config *tls.Config, h http.Handler, log *slog.Logger) error {
	if config.ClientAuth != tls.RequireAndVerifyClientCert {
		ln.Close()
		return fmt.Errorf("modules on %s: the TLS configuration does not verify client certificates", ln.Addr())
	}
	server := &http.Server{
		Handler: h, TLSConfig: config,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout,
		WriteTimeout: maxWait + transferTimeout, MaxHeaderBytes: maxHeaders,
		ErrorLog:    door.Failures(log, "modules: a connection failed"),
		ConnContext: door.Remember,
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	// One request per connection, as at the join endpoint: the certificate is
	// looked at for every question.
	server.Protocols.SetHTTP1(true)
	server.SetKeepAlivesEnabled(false)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(ending) != nil {
			server.Close()
		}
	})
	err := server.ServeTLS(door.Listen(ln, maxWaiting, maxConnections), "", "")
	if !stop() {
		<-stopped
	}
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	server.Close()
	return fmt.Errorf("modules on %s: %w", ln.Addr(), err)
}
