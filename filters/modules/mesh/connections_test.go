package main_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

const (
	thief = "spiffe://test/ns/shop/sa/thief"
)

// carrying configures the connections form to let sources through to port 80.
func carrying(mode policy.Mode, sources ...string) []byte {
	table := policy.Compile([]policy.Grant{{
		Name: "shop/buyers", Sources: sources, Ports: []policy.PortRange{{First: 80, Last: 80}}, Connections: true,
	}})
	return config.Config{Form: config.Connections, Destination: destination, Version: 7, Mode: mode, Table: table.Encode()}.Encode()
}

func startConnections(t *testing.T, configuration []byte) *wasmtest.Plugin {
	t.Helper()
	return start(t, wasmtest.PluginConfig{Name: config.ConnectionsFilter, Configuration: configuration})
}

// advance lets the module tick for d.
func advance(t *testing.T, p *wasmtest.Plugin, d time.Duration) {
	t.Helper()
	if err := p.VM().Advance(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func counter(p *wasmtest.Plugin, series string) uint64 {
	m, _ := p.VM().Proxy().Metric(wasmtest.Counter, series)
	return m.Value
}

func TestConnectionsAreJudgedAtTheFirstByte(t *testing.T) {
	p := startConnections(t, carrying(policy.Enforce, buyer))
	denied := func(r policy.Reason) string { return traffic.DenialSeries(buyerName, destination, string(r)) }
	for name, tt := range map[string]struct {
		peer    string
		expires int64
		series  string
		passes  bool
	}{
		"granted":             {buyer, 2000, traffic.EdgeSeries(traffic.Connections, buyerName, destination), true},
		"another source":      {thief, 2000, denied(policy.ReasonSource), false},
		"two identities":      {buyer + "," + buyer, 2000, denied(policy.ReasonSource), false},
		"no certificate":      {"-", 2000, denied(policy.ReasonSource), false},
		"expired certificate": {buyer, 1000, denied(policy.ReasonExpired), false},
	} {
		for _, serverFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, server first %v", name, serverFirst), func(t *testing.T) {
				before := counter(p, tt.series)
				c := p.TCP(from(tt.peer, tt.expires))
				if r := c.Open(t.Context()); r.Action != wasmtest.Continue {
					t.Fatal("a handshake that is not let through never ends")
				}
				flow := c.DownstreamData
				if serverFirst {
					flow = c.UpstreamData
				}
				flow(t.Context(), []byte("word"), false)
				flow(t.Context(), []byte("word"), false)
				passed := len(c.ToUpstream()) + len(c.ToDownstream())
				if c.Closed() == tt.passes || tt.passes && passed != 8 || !tt.passes && passed > 0 {
					t.Errorf("closed: %v, passed %d bytes", c.Closed(), passed)
				}
				if rose := counter(p, tt.series) - before; rose != 1 {
					t.Errorf("%s rose by %d, want 1", tt.series, rose)
				}
				c.Close(t.Context(), wasmtest.CloseRemote)
			})
		}
	}
}

// TestBytesOfConnectionsAreCounted as they pass, not at the end, which may be days
// away; of who is denied none.
func TestBytesOfConnectionsAreCounted(t *testing.T) {
	p := startConnections(t, carrying(policy.Enforce, buyer))
	c, denied := p.TCP(from(buyer, 2000)), p.TCP(from(thief, 2000))
	for _, c := range []*wasmtest.Connection{c, denied} {
		c.Open(t.Context())
		c.DownstreamData(t.Context(), []byte("question"), false)
		c.UpstreamData(t.Context(), []byte("the answer"), false)
		c.DownstreamData(t.Context(), []byte("and"), false)
	}
	for metric, want := range map[string]uint64{traffic.ReceivedBytes: 11, traffic.SentBytes: 10} {
		if n := counter(p, traffic.EdgeSeries(metric, buyerName, destination)); n != want {
			t.Errorf("%s: %d, want %d", metric, n, want)
		}
	}
}

// TestSilentConnectionsAreJudgedAtATick: the application is connected to while
// nobody has said anything.
func TestSilentConnectionsAreJudgedAtATick(t *testing.T) {
	p := startConnections(t, carrying(policy.Enforce, buyer))
	may, mayNot, early := p.TCP(from(buyer, 2000)), p.TCP(from(thief, 2000)), p.TCP(wasmtest.StreamInfo{})
	for _, c := range []*wasmtest.Connection{may, mayNot, early} {
		c.Open(t.Context())
	}
	advance(t, p, 2500*time.Millisecond)
	if may.Closed() || !mayNot.Closed() {
		t.Errorf("closed: %v with the right, %v without", may.Closed(), mayNot.Closed())
	}
	if early.Closed() {
		t.Error("a handshake was cut short")
	}
	if r := may.DownstreamData(t.Context(), []byte("word"), false); r.Action != wasmtest.Continue {
		t.Error("the first word of a connection with the right was held up")
	}
	if n := counter(p, traffic.EdgeSeries(traffic.Connections, buyerName, destination)); n != 1 {
		t.Errorf("counted %d connections, want 1", n)
	}
}

// TestOpaqueConnectionsEndWithTheirCertificate and with their right, whichever
// plugin they were opened under.
func TestOpaqueConnectionsEndWithTheirCertificate(t *testing.T) {
	p := startConnections(t, carrying(policy.Enforce, buyer))
	short, long := p.TCP(from(buyer, 1003)), p.TCP(from(buyer, 2000))
	for _, c := range []*wasmtest.Connection{short, long} {
		c.Open(t.Context())
		c.DownstreamData(t.Context(), []byte("word"), false)
	}
	advance(t, p, 2*time.Second)
	if short.Closed() {
		t.Error("closed before its certificate ended")
	}
	advance(t, p, 3*time.Second)
	if !short.Closed() || long.Closed() {
		t.Errorf("expired closed: %v, valid closed: %v", short.Closed(), long.Closed())
	}
	if n := counter(p, traffic.ReasonSeries(traffic.Revoked, buyerName, destination, string(policy.ReasonExpired))); n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

func TestAnEditRevokesConnections(t *testing.T) {
	p := startConnections(t, carrying(policy.Enforce, buyer, thief))
	stays, lost, silent := p.TCP(from(buyer, 2000)), p.TCP(from(thief, 2000)), p.TCP(from(thief, 2000))
	for _, c := range []*wasmtest.Connection{stays, lost, silent} {
		c.Open(t.Context())
	}
	stays.DownstreamData(t.Context(), []byte("word"), false)
	lost.UpstreamData(t.Context(), []byte("word"), false)
	next, err := p.Update(t.Context(), carrying(policy.Enforce, buyer))
	if err != nil {
		t.Fatal(err)
	}
	advance(t, next, 100*time.Millisecond)
	if stays.Closed() || !lost.Closed() || !silent.Closed() {
		t.Errorf("closed: %v with the right, %v and %v without", stays.Closed(), lost.Closed(), silent.Closed())
	}
	if r := stays.UpstreamData(t.Context(), []byte("word"), false); r.Action != wasmtest.Continue {
		t.Error("what stays was held up")
	}
	stays.Close(t.Context(), wasmtest.CloseRemote)
	if !p.Ended() {
		t.Error("the plugin before has not ended with its last connection")
	}
}

func TestModesOfConnections(t *testing.T) {
	audited := traffic.ReasonSeries(traffic.Audited, buyerName, destination, string(policy.ReasonSource))
	p := startConnections(t, carrying(policy.Audit, buyer))
	c := p.TCP(from(thief, 2000))
	c.Open(t.Context())
	if r := c.DownstreamData(t.Context(), []byte("word"), false); r.Action != wasmtest.Continue || counter(p, audited) != 1 {
		t.Errorf("audit: %+v, counted %d", r, counter(p, audited))
	}
	p, err := p.Update(t.Context(), carrying(policy.Permissive, buyer))
	if err != nil {
		t.Fatal(err)
	}
	advance(t, p, 100*time.Millisecond)
	d := p.TCP(from(thief, 2000))
	d.Open(t.Context())
	if r := d.DownstreamData(t.Context(), []byte("word"), false); r.Action != wasmtest.Continue || counter(p, audited) != 1 || c.Closed() {
		t.Errorf("permissive: %+v, counted %d", r, counter(p, audited))
	}
	if p, err = p.Update(t.Context(), carrying(policy.Enforce, buyer)); err != nil {
		t.Fatal(err)
	}
	advance(t, p, 100*time.Millisecond)
	if !c.Closed() || !d.Closed() {
		t.Errorf("back to enforce: closed %v and %v", c.Closed(), d.Closed())
	}
}

// TestAnEditRevokesRequests ends the stream that lost its right and no other.
func TestAnEditRevokesRequests(t *testing.T) {
	p := start(t, access(t))
	open := func(role string) *wasmtest.Stream {
		s := p.HTTP(from(buyer, 2000))
		if r := s.RequestHeaders(t.Context(), get("x-role", role), false); r.Action != wasmtest.Continue {
			t.Fatalf("%s: %+v", role, r)
		}
		return s
	}
	stays, over := open("user"), open("user")
	over.Done(t.Context())
	next, err := p.Update(t.Context(), access(t).Configuration) // the same again
	if err != nil {
		t.Fatal(err)
	}
	advance(t, next, 100*time.Millisecond)
	if stays.Result().Reset {
		t.Fatal("an edit that took nothing away ended a request")
	}
	none := config.Config{Form: config.Access, Destination: destination, Version: 43, Table: policy.Compile(nil).Encode()}
	last, err := next.Update(t.Context(), none.Encode())
	if err != nil {
		t.Fatal(err)
	}
	advance(t, last, time.Second)
	if stays.Result().Reset {
		t.Error("a request that was allowed a second ago was not left to finish")
	}
	advance(t, last, 2*time.Second)
	if !stays.Result().Reset {
		t.Error("a request that lost its right goes on")
	}
	if n := counter(last, traffic.ReasonSeries(traffic.Revoked, buyerName, destination, string(policy.ReasonPolicy))); n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}
