package ca

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// maxWaiting are connections whose request is not here yet: those of honest
	// callers need milliseconds for it. Of more, the oldest is closed.
	maxWaiting     = 256
	maxConnections = 2 * maxWaiting
	maxHeaders     = 8 << 10 // bytes
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second
	stopTimeout    = 5 * time.Second
)

// Lookup returns the service account of a workload of the current mesh.
type Lookup func(workload mesh.Name) (serviceAccount mesh.Name, ok bool)

// errUnknownWorkload is told to the caller, who has proved by then who it is:
// waiting for the manifest is worth it, asking for a new token is not.
var errUnknownWorkload = errors.New("the mesh does not know this workload yet: add or correct its manifest")

// errSkew is told to a caller that has proved who it is, before its token is
// spent: a certificate that its machine takes for ended would be no use to it.
var errSkew = errors.New("the clocks differ too much")

// errRequest is what is wrong with a request that proves nothing about secrets.
var errRequest = errors.New("bad request")

// Serve answers the join protocol over TLS on ln until ctx ends. hosts are the
// names and addresses that callers dial.
func (a *Authority) Serve(ctx context.Context, ln net.Listener, hosts []string, lookup Lookup, log *slog.Logger) error {
	config, err := a.ServerTLS(hosts)
	if err != nil {
		ln.Close()
		return fmt.Errorf("join endpoint: %w", err)
	}
	server := &http.Server{
		Handler:           a.Handler(lookup, log),
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout, // covers the TLS handshake too
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          door.Failures(log, "join endpoint: a connection failed"),
		ConnContext:       door.Remember,
		Protocols:         new(http.Protocols),
	}
	// HTTP/1 alone, one request per connection: a bound on connections is then a
	// bound on requests, and no connection outlives a certificate.
	server.Protocols.SetHTTP1(true)
	server.SetKeepAlivesEnabled(false)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	})
	err = server.ServeTLS(door.Listen(ln, maxWaiting, maxConnections), "", "")
	if !stop() {
		<-stopped
	}
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	server.Close()
	return fmt.Errorf("join endpoint on %s: %w", ln.Addr(), err)
}

// Handler answers POST /v1/join, /v1/renew and /v1/roots, and /v1/attest where
// there is a platform to ask. Every refusal goes to log
// with its reason; the caller gets the same words for every bad secret.
func (a *Authority) Handler(lookup Lookup, log *slog.Logger) http.Handler {
	e := &endpoint{authority: a, lookup: lookup, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+joinPath, e.handle(issued(e.join)))
	mux.HandleFunc("POST "+renewPath, e.handle(issued(e.renew)))
	mux.HandleFunc("POST "+rootsPath, e.handle(e.roots))
	if a.attest != nil {
		mux.HandleFunc("POST "+attestPath, e.handle(issued(e.attest)))
	}
	return mux
}

type endpoint struct {
	authority *Authority
	lookup    Lookup
	log       *slog.Logger
	limit     limiter
	// tell is for noise, audit for refusals: noise must not push those out.
	tell, audit door.Teller
	recalled    recollection
}

// handle reads a bounded body, lets act answer it, and writes and logs what
// came out. The name that act returns is the workload if it is known.
func (e *endpoint) handle(act func(ctx context.Context, body []byte) (out any, workload mesh.Name, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		remote, _ := netip.ParseAddrPort(r.RemoteAddr)
		if !e.limit.allow(remote.Addr(), e.authority.now()) {
			e.tell.Warn(e.log, e.authority.now(), "join endpoint: too many requests", "remote", r.RemoteAddr, "path", r.URL.Path)
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusTooManyRequests, refusalAnswer{"too many requests; try again in a second"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			e.tell.Warn(e.log, e.authority.now(), "join endpoint: unreadable request", "remote", r.RemoteAddr, "reason", err)
			reply(w, http.StatusBadRequest, refusalAnswer{fmt.Sprintf("the body cannot be read, or has more than %d bytes", maxBody)})
			return
		}
		door.Heard(r)
		out, workload, err := act(r.Context(), body)
		if err == nil {
			if a, ok := out.(answer); ok {
				e.log.Info("join endpoint: issued", "workload", workload.String(), "remote", r.RemoteAddr, "path", r.URL.Path, "expires", a.Expires)
			}
			reply(w, http.StatusOK, out)
			return
		}
		status, told := tell(err)
		e.audit.Warn(e.log, e.authority.now(), "join endpoint: refused", "workload", workload.String(), "remote", r.RemoteAddr, "path", r.URL.Path, "reason", err)
		reply(w, status, refusalAnswer{told})
	}
}

// tell turns an error into what a stranger may know of it.
func tell(err error) (status int, told string) {
	switch {
	case errors.Is(err, errNotAttested):
		return http.StatusForbidden, "the cluster does not vouch for this token here; the control plane's log says why"
	case errors.Is(err, ErrRefused):
		return http.StatusForbidden, "the token or renewal credential is not valid (any more); ask the operator of the mesh for a new join token"
	case errors.Is(err, errUnknownWorkload), errors.Is(err, errSkew):
		return http.StatusConflict, err.Error()
	case errors.Is(err, errRequest):
		return http.StatusBadRequest, err.Error()
	}
	return http.StatusInternalServerError, "the control plane could not do it; its log says why"
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a caller that went away asks again
}

// issued makes an act of one that returns a certificate.
func issued(act func(context.Context, []byte) (answer, mesh.Name, error)) func(context.Context, []byte) (any, mesh.Name, error) {
	return func(ctx context.Context, body []byte) (any, mesh.Name, error) {
		out, workload, err := act(ctx, body)
		return out, workload, err
	}
}

func (e *endpoint) join(_ context.Context, body []byte) (answer, mesh.Name, error) {
	var in joinRequest
	if err := decode(body, &in); err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	key, err := ParseRequest([]byte(in.CSR))
	if err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	var out answer
	workload, renewal, err := e.authority.Redeem(in.Token, func(workload mesh.Name) (err error) {
		if err := checkSkew(in.Now, e.authority.now(), e.authority.leafLifetime); err != nil {
			return fmt.Errorf("%w: %w", errSkew, err)
		}
		out, err = e.certify(workload, key)
		return err
	})
	if err != nil {
		return answer{}, workload, err
	}
	out.Renewal = renewal
	return out, workload, nil
}

func (e *endpoint) renew(_ context.Context, body []byte) (answer, mesh.Name, error) {
	var in renewRequest
	if err := decode(body, &in); err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	key, err := ParseRequest([]byte(in.CSR))
	if err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	workload, ok := mesh.ParseName(in.Workload)
	if _, err := Label(workload, KindWorkload); !ok || err != nil {
		// The name is a stranger's text of up to 64 KiB: it does not go to the log.
		return answer{}, mesh.Name{}, refuse("malformed workload name")
	}
	var out answer
	renewal, err := e.authority.Renew(workload, in.Renewal, func() (err error) {
		out, err = e.certify(workload, key)
		return err
	})
	if err != nil {
		return answer{}, workload, err
	}
	out.Renewal = renewal
	// Whoever has an identity keeps it: its machine knows best what still works.
	if skewed := checkSkew(in.Now, e.authority.now(), e.authority.leafLifetime); skewed != nil {
		e.log.Error("join endpoint: renewed for a workload whose clock is wrong", "workload", workload.String(), "told", skewed)
	}
	return out, workload, nil
}

// roots tells who is trusted, and keeps what the caller says it holds.
func (e *endpoint) roots(ctx context.Context, body []byte) (any, mesh.Name, error) {
	var in rootsRequest
	if err := decode(body, &in); err != nil {
		return nil, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	if !in.Holds.plausible() {
		return nil, mesh.Name{}, refuse("malformed question for roots")
	}
	id, err := e.holder(ctx, in)
	if err != nil {
		return nil, id.Workload, err
	}
	e.authority.note(id, in.Holds)
	return rootsAnswer{string(e.authority.TrustBundle()), e.authority.Fingerprint()}, id.Workload, nil
}

// certify issues for a workload that has proved itself.
func (e *endpoint) certify(workload mesh.Name, key *ecdsa.PublicKey) (answer, error) {
	serviceAccount, ok := e.lookup(workload)
	if !ok {
		return answer{}, errUnknownWorkload
	}
	return e.issue(Identity{ServiceAccount: serviceAccount, Workload: workload, Kind: KindWorkload}, key)
}

func (e *endpoint) issue(id Identity, key *ecdsa.PublicKey) (answer, error) {
	leaf, err := e.authority.Issue(key, id, 0)
	if err != nil {
		return answer{}, err
	}
	return answer{
		Certificates:   string(leaf.Chain),
		TrustBundle:    string(e.authority.TrustBundle()),
		Workload:       id.Workload.String(),
		ServiceAccount: id.ServiceAccount.String(),
		Expires:        leaf.Expires,
		Now:            e.authority.now().UTC(),
	}, nil
}
