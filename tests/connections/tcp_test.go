package connections

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// listener is one opaque port: where it is dialled, and the application's own.
type listener struct {
	name, app string
	service   mesh.Name
	dialled   uint16
	served    uint16
	banner    bool
}

// opaque are the ports of all servers. The store's first is dialled at another
// number than it is served at (smi-rules 29).
func opaque() []listener {
	return []listener{
		{"client first", "127.141.0.3:7001", store, 17001, 7001, false},
		{"server first", "127.141.0.3:7002", store, 7002, 7002, true},
		{"sidecar on IPv6, client first", "127.141.0.4:7101", six, 7101, 7101, false},
		{"sidecar on IPv6, server first", "127.141.0.4:7102", six, 7102, 7102, true},
		{"application on IPv6, client first", "[::1]:7201", inner, 7201, 7201, false},
		{"application on IPv6, server first", "[::1]:7202", inner, 7202, 7202, true},
	}
}

func dial(ctx context.Context, at string) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(answerTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	return c.(*net.TCPConn), c.SetDeadline(end)
}

// conversation is what half of a connection can be closed of.
type conversation interface {
	io.ReadWriter
	CloseWrite() error
}

// converse sends a lot, closes its own side and compares all that comes back.
func converse(c conversation, greeted bool) error {
	sent := content(1, bulk)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-failed); err != nil {
		return fmt.Errorf("after %d bytes: %w", len(got), err)
	}
	want := append(sent, content(2, bulk)...)
	if greeted {
		want = append([]byte(banner), want...)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back, and not those %d that were to come", len(got), len(want))
	}
	return nil
}

// refused wants no byte from a connection, and its end. Where the server speaks
// first the caller says nothing: its word could be what gets it refused.
func refused(c net.Conn, greeted bool) error {
	defer c.Close()
	if !greeted {
		_, _ = c.Write([]byte("let me in\n")) // it may be closed already
	}
	got, err := io.ReadAll(c)
	var late net.Error
	switch {
	case len(got) > 0:
		return fmt.Errorf("the denied caller got %q", got)
	case errors.As(err, &late) && late.Timeout():
		return errors.New("the denied connection was not closed")
	}
	return nil
}

// allowed is a probe that the right to a port is there.
func (n *network) allowed(ctx context.Context, from mesh.Name, l listener) error {
	c, err := dial(ctx, n.outlet(from, l.service, l.dialled))
	if err != nil {
		return err
	}
	defer c.Close()
	return converse(c, l.banner)
}

// denied is a probe that it is not: neither end gets a byte.
func (n *network) denied(ctx context.Context, from mesh.Name, l listener) error {
	app := n.apps.at(l.app)
	before := app.received.Load()
	c, err := dial(ctx, n.outlet(from, l.service, l.dialled))
	if err != nil {
		return err
	}
	if err := refused(c, l.banner); err != nil {
		return err
	}
	if got := app.received.Load() - before; got > 0 {
		return fmt.Errorf("%d bytes of the denied caller reached the application", got)
	}
	return nil
}

// testOpaque is what a port is granted by, and by nothing else.
func testOpaque(t *testing.T, n *network) {
	n.edit(t, "")
	for _, l := range opaque() {
		want(t, "without any target, "+l.name+" (smi-rules 1, 3, 4)", n.denied(t.Context(), caller, l))
	}
	n.grant(t, every("all", "store", "caller"), every("all", "side", "caller"))
	for _, l := range opaque() {
		want(t, "granted on every port, "+l.name+" (smi-rules 24, 27)", n.allowed(t.Context(), caller, l))
		want(t, "granted to another, "+l.name+" (smi-rules 7)", n.denied(t.Context(), other, l))
	}
	echoes, greets := opaque()[0], opaque()[1]
	n.grant(t, grant{name: "web", to: "store", sources: []string{"caller"}, paths: []string{"/"}})
	want(t, "HTTPRouteGroup alone (smi-rules 25)", n.denied(t.Context(), caller, echoes))
	want(t, "HTTPRouteGroup alone (smi-rules 25)", n.denied(t.Context(), caller, greets))
	n.grant(t, grant{name: "both", to: "store", sources: []string{"caller"}, ports: []int{7001}, paths: []string{"/hello"}})
	want(t, "TCPRoute beside an HTTPRouteGroup (smi-rules 26)", n.allowed(t.Context(), caller, echoes))
	want(t, "a port that the TCPRoute does not name (smi-rules 26)", n.denied(t.Context(), caller, greets))
	n.grant(t, grant{name: "dialled", to: "store", sources: []string{"caller"}, ports: []int{17001}})
	want(t, "the service's number instead of the container's (smi-rules 29)", n.denied(t.Context(), caller, echoes))
	n.grant(t, grant{name: "one", to: "store", sources: []string{"caller"}, ports: []int{7001}},
		grant{name: "two", to: "store", sources: []string{"caller"}, ports: []int{7002}})
	want(t, "union of targets (smi-rules 5, 28)", n.allowed(t.Context(), caller, echoes))
	want(t, "union of targets (smi-rules 5, 28)", n.allowed(t.Context(), caller, greets))
}

func want(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// testOpaqueMetrics wants each connection, each denial and each byte counted once.
func testOpaqueMetrics(t *testing.T, n *network) {
	n.grant(t, grant{name: "one", to: "store", sources: []string{"caller"}, ports: []int{7001}})
	echoes, greets := opaque()[0], opaque()[1]
	from, to := metered(caller), metered(store)
	n.counts(t, store, map[string]uint64{
		traffic.EdgeSeries(traffic.Connections, from, to):           3,
		traffic.EdgeSeries(traffic.Connections, metered(other), to): 0,
		traffic.EdgeSeries(traffic.ReceivedBytes, from, to):         3 * bulk,
		traffic.EdgeSeries(traffic.SentBytes, from, to):             3 * 2 * bulk,
	}, func() {
		for range 3 {
			want(t, "granted", n.allowed(t.Context(), caller, echoes))
		}
		n.counts(t, caller, map[string]uint64{unsent(store, greets.dialled, policy.ReasonPort): 2}, func() {
			want(t, "another port", n.denied(t.Context(), caller, greets))
			want(t, "another port", n.denied(t.Context(), caller, greets))
		})
		n.counts(t, other, map[string]uint64{unsent(store, echoes.dialled, policy.ReasonSource): 1}, func() {
			want(t, "another source", n.denied(t.Context(), other, echoes))
		})
	})
}

// testSilent: who may not, and says nothing, does not hold a connection to the
// application either.
func testSilent(t *testing.T, n *network) {
	n.grant(t, grant{name: "one", to: "store", sources: []string{"caller"}, ports: []int{7001}})
	app := n.apps.at("127.141.0.3:7001")
	c, err := dial(t.Context(), n.outlet(other, store, 17001))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent caller without the right: read %d bytes, %v", n, err)
	}
	t.Logf("a silent caller without the right was cut off after %v", time.Since(began).Round(time.Millisecond))
	n.until(t, "the application to be alone", func(context.Context) error {
		if open := app.open.Load(); open > 0 {
			return fmt.Errorf("%d connections are open", open)
		}
		return nil
	})
	may, err := dial(t.Context(), n.outlet(caller, store, 17001))
	if err != nil {
		t.Fatal(err)
	}
	defer may.Close()
	time.Sleep(2500 * time.Millisecond) // two ticks
	want(t, "a silent caller with the right", converse(may, false))
}

// testBypass leaves the caller's own sidecar out: a valid certificate of the mesh
// straight at the server's (smi-rules 4).
func testBypass(t *testing.T, n *network) {
	n.grant(t, every("all", "store", "caller"), every("all", "side", "caller"))
	for _, l := range opaque() {
		at := n.inlet(l.service, l.served)
		c, err := tls.Dial("tcp", at, n.credentials(t, caller))
		if err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		want(t, "with the right and without a sidecar, "+l.name, errors.Join(c.SetDeadline(time.Now().Add(answerTimeout)), converse(c, l.banner)))
		c.Close()
		app := n.apps.at(l.app)
		before := app.received.Load()
		if c, err = tls.Dial("tcp", at, n.credentials(t, other)); err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		want(t, "without the right and without a sidecar, "+l.name, errors.Join(c.SetDeadline(time.Now().Add(answerTimeout)), refused(c, l.banner)))
		if got := app.received.Load() - before; got > 0 {
			t.Errorf("%s: %d bytes reached the application", l.name, got)
		}
	}
}

// credentials are what a sidecar has, in the hands of somebody else.
func (n *network) credentials(t *testing.T, w mesh.Name) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(n.Admin(w).Socket), sidecar.IdentityFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Resources []struct {
			TLS struct {
				Chain struct {
					Inline string `json:"inline_string"`
					Bytes  string `json:"inline_bytes"`
				} `json:"certificate_chain"`
				Key struct {
					Inline string `json:"inline_string"`
					Bytes  string `json:"inline_bytes"`
				} `json:"private_key"`
			} `json:"tls_certificate"`
		}
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Resources) != 1 {
		t.Fatalf("%d identities, %v", len(file.Resources), err)
	}
	one := file.Resources[0].TLS
	pair, err := tls.X509KeyPair(inline(t, one.Chain.Inline, one.Chain.Bytes), inline(t, one.Key.Inline, one.Key.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"wasmesh"}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // it is the server that has to be careful here
	}
}

func inline(t *testing.T, text, encoded string) []byte {
	t.Helper()
	if text != "" {
		return []byte(text)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
