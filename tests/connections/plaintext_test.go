package connections

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// ownTLS is an application's own TLS.
func ownTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // the test's certificate is anybody's
}

// doors are the ways in without a sidecar. Each returns nil if all bytes passed.
func (n *network) doors() map[string]func(context.Context) error {
	at := func(w mesh.Name, port uint16) string { return n.inlet(w, port) }
	return map[string]func(context.Context) error{
		"HTTP": func(ctx context.Context) error {
			status, body, err := get(ctx, at(store, 8001), "/hello?a")
			if err == nil && (status != http.StatusOK || body != "GET /hello?a ") {
				err = fmt.Errorf("%d %q", status, body)
			}
			return err
		},
		"TLS behind an HTTP port":      func(ctx context.Context) error { return visit(ctx, at(store, 8003)) },
		"opaque, client first":         func(ctx context.Context) error { return talkPlain(ctx, at(store, 7001), false) },
		"opaque, server first":         func(ctx context.Context) error { return talkPlain(ctx, at(store, 7002), true) },
		"TLS behind an opaque port":    func(ctx context.Context) error { return talkTLS(ctx, at(store, 7003)) },
		"opaque on IPv6, server first": func(ctx context.Context) error { return talkPlain(ctx, at(six, 7102), true) },
		"opaque to IPv6, client first": func(ctx context.Context) error { return talkPlain(ctx, at(inner, 7201), false) },
	}
}

func talkPlain(ctx context.Context, at string, greeted bool) error {
	c, err := dial(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	if greeted {
		got := make([]byte, len(banner))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != banner {
			return fmt.Errorf("the banner is %q, %w", got, err)
		}
		return nil
	}
	return converse(c, false)
}

func talkTLS(ctx context.Context, at string) error {
	c, err := dial(ctx, at)
	if err != nil {
		return err
	}
	defer c.Close()
	return converse(tls.Client(c, ownTLS()), false)
}

// visit makes a request over the application's own TLS.
func visit(ctx context.Context, at string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at+"/hello", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Transport{TLSClientConfig: ownTLS(), DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// isAlert reports whether an answer is one alert of TLS, "I do not understand",
// and nothing else.
func isAlert(b []byte) bool { return len(b) == 7 && b[0] == 21 && b[1] == 3 }

// closed is a probe that nothing passes any of these ways, and nothing is said.
func (n *network) closed(ctx context.Context) error {
	for app, at := range map[string]string{
		"127.141.0.3:8001": n.inlet(store, 8001), "127.141.0.3:8003": n.inlet(store, 8003),
		"127.141.0.3:7001": n.inlet(store, 7001), "127.141.0.3:7002": n.inlet(store, 7002), "127.141.0.3:7003": n.inlet(store, 7003),
		"127.141.0.4:7102": n.inlet(six, 7102), "[::1]:7201": n.inlet(inner, 7201),
	} {
		before := n.apps.at(app).connections.Load()
		for kind, hello := range map[string]string{"HTTP": "GET /hello HTTP/1.1\r\nHost: store\r\n\r\n", "bytes": "\x00\x01\x02 of no protocol\r\n"} {
			c, err := dial(ctx, at)
			if err != nil {
				return err
			}
			_, _ = io.WriteString(c, hello) // it may be closed already
			got, err := io.ReadAll(c)
			c.Close()
			var late net.Error
			if len(got) > 0 && !isAlert(got) {
				return fmt.Errorf("%s in plaintext to %s: %q came back", kind, at, got)
			}
			if errors.As(err, &late) && late.Timeout() {
				return fmt.Errorf("%s in plaintext to %s: the connection was not closed", kind, at)
			}
		}
		if c, err := tls.Dial("tcp", at, ownTLS()); err == nil {
			// In TLS 1.3 a client without a certificate hears of it at its first read.
			_ = c.SetDeadline(time.Now().Add(answerTimeout))
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				return fmt.Errorf("TLS without a certificate at %s: %d bytes, %w", at, n, err)
			}
			c.Close()
		}
		if n.apps.at(app).connections.Load() > before {
			return fmt.Errorf("the application behind %s was connected to", at)
		}
	}
	return nil
}

// testPlaintext opens and closes the door to callers without a sidecar
// (smi-rules 35).
func testPlaintext(t *testing.T, n *network) {
	rules := manifests(every("all", "store", "caller"), every("all", "side", "caller"))
	n.edit(t, rules)
	want(t, "strict", n.closed(t.Context()))
	// Whoever is inside the mesh stays there: an edit of the door cuts nobody who
	// may be let in again at once.
	n.edit(t, rules+labelled("store", "plaintext: grace")+labelled("side", "plaintext: grace"))
	for name, through := range n.doors() {
		began := time.Now()
		// A caller that says nothing while the door is still shut hears nothing for
		// seconds: each try is short, so that there is a second one.
		try := func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return through(ctx)
		}
		if err := n.Await(applyTimeout, name, try); err != nil {
			t.Errorf("in grace: %v", err)
		}
		t.Logf("in grace, %s: %v", name, time.Since(began).Round(time.Millisecond))
	}
	n.judgedAsEver(t)
	n.edit(t, rules+labelled("store", "plaintext: strict")+labelled("side", "plaintext: strict"))
	// Who came in under grace may finish, so each door is tried anew until it is
	// shut, and then all of them once.
	for name, through := range n.doors() {
		n.until(t, name+" to be shut", func(ctx context.Context) error {
			if through(ctx) == nil {
				return errors.New("it is open")
			}
			return nil
		})
	}
	want(t, "strict again", n.closed(t.Context()))
	n.judgedAsEver(t)
}

// judgedAsEver wants callers of the mesh to be judged, at the same ports.
func (n *network) judgedAsEver(t *testing.T) {
	t.Helper()
	for _, l := range opaque() {
		want(t, "in the mesh, with the right, "+l.name, n.allowed(t.Context(), caller, l))
		want(t, "in the mesh, without the right, "+l.name, n.denied(t.Context(), other, l))
	}
	for from, wanted := range map[mesh.Name]int{caller: http.StatusOK, other: http.StatusForbidden} {
		status, _, err := get(t.Context(), n.outlet(from, store, 8001), "/hello")
		if err != nil || status != wanted {
			t.Errorf("%s in the mesh is answered %d, want %d, %v", from, status, wanted, err)
		}
	}
}
