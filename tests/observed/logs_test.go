package observed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// TestLines: each request and connection is one line of each sidecar that saw it, and
// says what happened to it.
func TestLines(t *testing.T) {
	n := start(t, func(o *rig.Options) { o.AccessLog = 100 }, buyer, thief, store, desk)
	for _, c := range []struct {
		name     string
		do       func(*testing.T)
		of       mesh.Name
		want     entry
		fromPeer entry // of the caller's sidecar; nil: it logs nothing
		caller   mesh.Name
	}{
		{"allowed", n.calls(buyer, store, 14101, "/open/a?secret=1", 200), store,
			of("inbound", "shop/buyer", "shop/store", "path", "/open/a", "code", 200., "verdict", "allow", "rule", "shop/buyers", "reason", nil, "sent_bytes", 4.,
				"protocol", "HTTP/2", "method", "GET", "details", "via_upstream", "port", 14101., "source_identity", "spiffe://observed.test/ns/shop/sa/buyer"),
			of("outbound", "shop/buyer", "shop/store", "path", "/open/a", "code", 200., "verdict", nil, "destination_service", "shop/store:14101",
				"destination_identity", "spiffe://observed.test/ns/shop/sa/store", "destination_namespace", "shop",
				"destination_peer", "store.workload.shop.peer.wasmesh.internal", "protocol", "HTTP/1.1"), buyer},
		{"path", n.calls(buyer, store, 14101, "/closed", 403), store,
			of("inbound", "shop/buyer", "shop/store", "path", "/closed", "code", 403., "verdict", "deny", "rule", nil, "reason", "path"),
			of("outbound", "shop/buyer", "shop/store", "path", "/closed", "code", 403., "verdict", nil, "details", "via_upstream"), buyer},
		{"audited", n.calls(buyer, desk, 14103, "/x", 200), desk,
			of("inbound", "shop/buyer", "trial/desk", "path", "/x", "code", 200., "verdict", "audit", "rule", nil, "reason", "policy"),
			of("outbound", "shop/buyer", "trial/desk", "path", "/x", "code", 200.), buyer},
		{"refused at the caller", n.calls(thief, store, 14101, "/open", 403), thief,
			of("outbound", "shop/thief", "", "code", 403., "verdict", "deny", "reason", "source", "destination_service", "shop/store:14101"), nil, store},
		{"TCP", n.says(buyer, 14102, "hello"), store,
			of("inbound", "shop/buyer", "shop/store", "protocol", "TCP", "verdict", "allow", "rule", "shop/echoes", "received_bytes", 5., "sent_bytes", 5.),
			of("outbound", "shop/buyer", "shop/store", "protocol", "TCP", "received_bytes", 5., "sent_bytes", 5., "destination_service", "shop/store:14102"), buyer},
		{"TCP refused at the caller", n.says(thief, 14102, ""), thief,
			entry{"direction": "outbound", "source_name": "thief", "destination_service": "shop/store:14102", "verdict": "deny", "reason": "source", "received_bytes": 0.}, nil, store},
		{"plaintext to HTTP", stranger("127.51.0.2:14101", nil), store, strange(14101), nil, buyer},
		{"plaintext to TCP", stranger("127.51.0.2:14102", nil), store, strange(14102), nil, buyer},
		{"a certificate that claims", stranger("127.51.0.2:14101", pretender(t)), store, strange(14101), nil, buyer},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, beforePeer := len(n.read(t, c.of)), len(n.read(t, c.caller))
			c.do(t)
			holds(t, n.logged(t, c.of, before+1)[before], c.want)
			if c.fromPeer != nil {
				beforePeer++
			}
			if lines := n.logged(t, c.caller, beforePeer); c.fromPeer != nil {
				holds(t, lines[beforePeer-1], c.fromPeer)
			}
		})
	}
	if len(n.apps.headers) != 2 || n.apps.dialled != 1 {
		t.Errorf("the applications saw %d requests and %d connections, want 2 and 1", len(n.apps.headers), n.apps.dialled)
	}
	t.Run("hostile", n.hostile)
}

// of is a line's direction and ends, and what follows in pairs.
func of(direction, source, destination string, more ...any) entry {
	e := entry{"direction": direction, "flags": "-"}
	for role, who := range map[string]string{"source": source, "destination": destination} {
		if direction == "outbound" && role == "destination" {
			e["destination_kind"], e["destination_name"] = nil, nil // no owner outside of a cluster
			continue
		}
		namespace, name, _ := strings.Cut(who, "/")
		e[role+"_namespace"], e[role+"_kind"], e[role+"_name"], e[role+"_pod"] = namespace, "Workload", name, name
	}
	for i := 0; i < len(more); i += 2 {
		e[more[i].(string)] = more[i+1]
	}
	return e
}

func strange(port float64) entry {
	return of("inbound", "unknown/unknown", "shop/store", "source_kind", "unknown", "source_identity", nil, "port", port, "protocol", "TCP", "verdict", "deny", "reason", "certificate")
}

// holds reports what of a line is not as wanted.
func holds(t *testing.T, got, want entry) {
	t.Helper()
	for field, value := range want {
		if seen, there := got[field]; !there || !reflect.DeepEqual(seen, value) {
			t.Errorf("%s is %v, want %v; the line: %v", field, seen, value, got)
		}
	}
	if when, err := time.Parse(time.RFC3339, got["time"].(string)); err != nil || time.Since(when).Abs() > time.Minute {
		t.Errorf("time %v: %v", got["time"], err)
	}
	if text := toText(got); strings.Contains(text, "secret") {
		t.Errorf("the query is logged: %s", text)
	}
}

func (n *network) calls(from, service mesh.Name, port uint16, path string, want int) func(*testing.T) {
	return func(t *testing.T) {
		if got := call(t, n.address(from, service, port), path); got != want {
			t.Fatalf("%s: got %d, want %d", path, got, want)
		}
	}
}

// says opens a connection to the store, and expects the word back; none: that it ends.
func (n *network) says(from mesh.Name, port uint16, word string) func(*testing.T) {
	return func(t *testing.T) {
		c, err := net.Dial("tcp", n.address(from, store, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(answerLimit))
		io.WriteString(c, "hello")
		back := make([]byte, 5)
		if _, err := io.ReadFull(c, back); (err == nil) != (word != "") || word != "" && string(back) != word {
			t.Fatalf("got %q, %v", back, err)
		}
	}
}

// stranger dials a sidecar with a certificate of nobody's, or without TLS.
func stranger(address string, certificate *tls.Certificate) func(*testing.T) {
	return func(t *testing.T) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if certificate != nil {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"wasmesh"}, Certificates: []tls.Certificate{*certificate}})
		}
		c.SetDeadline(time.Now().Add(answerLimit))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: store\r\n\r\n")
		io.Copy(io.Discard, c)
	}
}

// pretender names itself as the buyer does, and has signed that itself.
func pretender(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := url.Parse("spiffe://observed.test/ns/shop/sa/buyer")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{id}, DNSNames: []string{"buyer.workload.shop.peer.wasmesh.internal"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hostile: whatever a caller writes into its request is one line of JSON, and no word
// of it becomes a field.
func (n *network) hostile(t *testing.T) {
	before := len(n.read(t, store))
	paths := []string{
		`/open/"}%0a{"verdict":"allow","source_name":"admin`, "/open/%ff%fe%00x", "/open/\xff\xfe\x80", `/open/\u0000\"\\`, "/open/" + strings.Repeat("long", 3000),
	}
	answered := 0
	for _, path := range paths {
		if status := raw(t, n.address(buyer, store, 14101), path); status != 0 {
			answered++
		}
	}
	if answered < 3 {
		t.Fatalf("only %d of %d requests were answered", answered, len(paths))
	}
	var lines []entry
	n.await(t, "lines of hostile requests", func() bool {
		lines = n.read(t, store)[before:]
		return len(lines) >= 3
	})
	for _, e := range lines {
		path, _ := e["path"].(string)
		if e["source_name"] != "buyer" || e["verdict"] == nil || len(path) > 3*1024 || strings.Contains(path, "?") {
			t.Errorf("%v", e)
		}
	}
}

// raw sends what an HTTP client would refuse to, with headers of the same kind.
func raw(t *testing.T, address, path string) int {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(answerLimit))
	io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: store\r\nX-Request-Id: \"},{\"a\":\"\xff\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(c)
	if fields := strings.Fields(string(answer)); len(fields) > 1 {
		t.Logf("%.30q: %s", path, fields[1])
		return len(fields[1])
	}
	return 0
}

// TestShare: nothing is logged unless asked for, and else the share that is asked for,
// with all that was refused or has failed.
func TestShare(t *testing.T) {
	t.Run("none", func(t *testing.T) { share(t, 0, 0, 0) })
	t.Run("half", func(t *testing.T) { share(t, 50, 900, 1100) }) // 4.5 standard deviations
}

func share(t *testing.T, percent float64, least, most int) {
	const requests, bad = 2000, 20
	n := start(t, func(o *rig.Options) { o.AccessLog = percent }, buyer, store)
	to := n.address(buyer, store, 14101)
	for range requests {
		// One id for all: were the lot drawn from it, it would be all or nothing.
		if status := call(t, to, "/open", "X-Request-Id", "0f2e5b3c-1111-4222-8333-444455556666"); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	for range bad {
		if refused, failed := call(t, to, "/closed"), call(t, to, "/open/broken"); refused != 403 || failed != 500 {
			t.Fatal(refused, failed)
		}
	}
	if got := n.apps.served(); got != requests+bad {
		t.Fatalf("the application served %d", got)
	}
	time.Sleep(2500 * time.Millisecond) // what is not there then, does not come
	for _, w := range []mesh.Name{buyer, store} {
		lines := map[string]int{}
		for _, e := range n.read(t, w) {
			lines[e["path"].(string)]++
		}
		if logged := lines["/open"]; logged < least || logged > most {
			t.Errorf("at %v %%, %s logs %d of %d requests", percent, w, logged, requests)
		}
		always := bad
		if percent == 0 {
			always = 0
		}
		if lines["/open/broken"] != always || w == store && lines["/closed"] != always {
			t.Errorf("at %v %%, of %d that failed and as many that were refused %s logs %v", percent, bad, w, lines)
		}
	}
}
