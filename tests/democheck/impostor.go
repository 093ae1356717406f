package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

// impostorManifest adds an endpoint that claims to run as the bookstore. It has
// a service of its own, so that every request to that service must reach it.
const impostorManifest = `apiVersion: v1
kind: Service
metadata:
  name: impostor
  namespace: bookstore
spec:
  selector:
    app: impostor
  ports:
    - name: http
      port: 14001
---
apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata:
  name: impostor
  namespace: bookstore
  labels:
    app: impostor
spec:
  serviceAccount: bookstore
  address: 127.10.0.66
  application: 127.20.0.66
  loopback: 127.66.0.0/16
  ports:
    - name: http
      port: 14001
`

// impostor is a server of mutual TLS and HTTP/2, as a sidecar is one, with a
// leaf that can be exchanged.
type impostor struct {
	net.Listener
	server *http.Server
	leaf   atomic.Pointer[tls.Certificate]
	// requests are those it saw.
	requests atomic.Int32

	mu   sync.Mutex
	open map[net.Conn]bool
}

func listenAs(at netip.AddrPort) (*impostor, error) {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("impostor: %w", err)
	}
	i := &impostor{Listener: l, open: map[net.Conn]bool{}}
	i.server = &http.Server{Handler: i, ConnState: i.keep, Protocols: new(http.Protocols), ReadHeaderTimeout: answerTimeout}
	i.server.Protocols.SetUnencryptedHTTP2(true)
	go i.server.Serve(i) // ends with the listener
	return i, nil
}

// Accept hides the TLS: the server would insist on a protocol name of its own.
func (i *impostor) Accept() (net.Conn, error) {
	c, err := i.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{tls.Server(c, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, ClientAuth: tls.RequireAnyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.leaf.Load(), nil },
	})}, nil
}

// ServeHTTP counts what should never have come.
func (i *impostor) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.requests.Add(1)
	fmt.Fprintln(w, `{"from":"impostor"}`)
}

func (i *impostor) keep(c net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch state {
	case http.StateNew:
		i.open[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(i.open, c)
	}
}

// become exchanges the leaf and ends all connections, so that the next request
// needs a new handshake.
func (i *impostor) become(leaf tls.Certificate) {
	i.leaf.Store(&leaf)
	i.mu.Lock()
	defer i.mu.Unlock()
	for c := range i.open {
		c.Close()
	}
}

// impostor is line 7, first half: who is where a manifest says the bookstore is,
// but cannot prove to be the bookstore, gets no request.
func (c *check) impostor(ctx context.Context) error {
	i, to, err := c.placeImpostor(ctx)
	if err != nil {
		return err
	}
	defer i.server.Close()
	own := mesh.Name{Namespace: "bookstore", Name: "impostor"}
	right, _, err := issue(c.mesh.State, mesh.Name{Namespace: "bookstore", Name: "bookstore"}, own, 0)
	if err != nil {
		return err
	}
	wrong, _, err := issue(c.mesh.State, mesh.Name{Namespace: "bookthief", Name: "bookthief"}, mesh.Name{Namespace: "bookthief", Name: "impostor"}, 0)
	if err != nil {
		return err
	}
	i.leaf.Store(&right)
	proven, err := c.prove(ctx, to)
	if err != nil {
		return err
	}
	seen := i.requests.Load()
	i.become(wrong)
	refusals, codes, err := c.knock(ctx, to)
	if err != nil {
		return err
	}
	var failure error
	if proven[0].code != http.StatusOK || seen == 0 {
		failure = fmt.Errorf("with the right leaf it got %d requests and the buyer %d; the line proves nothing", seen, proven[0].code)
	}
	if refusals == 0 || i.requests.Load() != seen || slices.Max(codes) != http.StatusServiceUnavailable || slices.Min(codes) != http.StatusServiceUnavailable {
		failure = errors.Join(failure, fmt.Errorf("with the thief's leaf it got %d requests, the buyer %d; the buyer's sidecar refused %d certificates by name",
			i.requests.Load()-seen, codes, refusals))
	}
	c.line("7", "an endpoint with another's leaf is refused by the caller", failure,
		"right leaf: %d, %d seen; thief's leaf: %d, %d seen, %d refused by name", proven[0].code, seen, codes[len(codes)-1], i.requests.Load()-seen, refusals)
	return nil
}

// prove asks with the right leaf until the buyer's sidecar has taken what the
// policy now says: until then it refuses the request itself.
func (c *check) prove(ctx context.Context, to netip.AddrPort) (replies []reply, err error) {
	late := c.mesh.Await(effectLimit, "an answer of the impostor", func(context.Context) error {
		if replies, err = send(to, get("/books-bought")); err != nil || replies[0].code == http.StatusOK {
			return nil
		}
		return fmt.Errorf("the buyer got %d", replies[0].code)
	})
	if err == nil && len(replies) == 0 {
		err = late
	}
	return replies, err
}

// placeImpostor adds the manifest and the policy that lets the buyer in, and
// waits until the buyer can dial it.
func (c *check) placeImpostor(ctx context.Context) (*impostor, netip.AddrPort, error) {
	if _, err := c.files.writePolicy(); err != nil {
		return nil, netip.AddrPort{}, err
	}
	if _, err := c.files.replace("impostor.yaml", []byte(impostorManifest)); err != nil {
		return nil, netip.AddrPort{}, err
	}
	now, err := c.mesh.Now()
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	name := mesh.Name{Namespace: "bookstore", Name: "impostor"}
	to, err := demo.Dial(now, mesh.Name{Namespace: demo.Buyer, Name: demo.Buyer}, name)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	w, _ := now.Workload(name)
	i, err := listenAs(netip.AddrPortFrom(w.Address, w.Ports[0].Port))
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	err = c.mesh.Await(effectLimit, "the buyer's listener for the impostor", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		i.server.Close()
		return nil, netip.AddrPort{}, err
	}
	return i, to, nil
}

// knock sends requests through the buyer's sidecar until it has refused the
// server's certificate, a few times at most: a connection that was just closed
// may take one request with it. It returns how many certificates were refused,
// and every answer.
func (c *check) knock(ctx context.Context, to netip.AddrPort) (refusals int, codes []int, err error) {
	before, err := c.sanFailures(ctx)
	if err != nil {
		return 0, nil, err
	}
	for len(codes) < 5 && refusals == 0 {
		replies, err := send(to, get("/books-bought"))
		if err != nil {
			return 0, nil, err
		}
		codes = append(codes, replies[0].code)
		after, err := c.sanFailures(ctx)
		if err != nil {
			return 0, nil, err
		}
		refusals = after - before
	}
	return refusals, codes, nil
}

// sanFailures is how many certificates the buyer's Envoy refused because the
// SPIFFE ID was not the one expected.
func (c *check) sanFailures(ctx context.Context) (int, error) {
	buyer := c.mesh.Sidecars[mesh.Name{Namespace: demo.Buyer, Name: demo.Buyer}]
	metrics, err := buyer.Metrics(ctx, `impostor.*ssl\.fail_verify_san`)
	return metrics.Sum("cluster_ssl_fail_verify_san", nil), err
}
