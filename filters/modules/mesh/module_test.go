package main_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
	undertest "github.com/wasmesh/wasmesh/tests/rig/module"
)

const (
	buyer      = "spiffe://test/ns/shop/sa/buyer"
	buyerLabel = "buyer-1.workload.shop.peer.wasmesh.internal"
)

var (
	destination = identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "store"}
	// buyerName is what metrics call the buyer by its label.
	buyerName = identity.Workload{Namespace: "shop", Kind: "Workload", Name: "buyer-1"}

	module   *wasmtest.Module
	compiler string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run compiles the module once for all tests.
func run(m *testing.M) int {
	var err error
	if module, compiler, err = undertest.Compile(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// table lets the buyer GET /books with x-role: user.
func table(t *testing.T) *policy.Table {
	t.Helper()
	path, err := pattern.Path("/books$")
	if err != nil {
		t.Fatal(err)
	}
	role, err := pattern.Value("user")
	if err != nil {
		t.Fatal(err)
	}
	return policy.Compile([]policy.Grant{{
		Name: "shop/buyers", Sources: []string{buyer}, Ports: []policy.PortRange{{First: 80, Last: 80}},
		Matches: []policy.Match{{Name: "routes/books", Path: path, Methods: []string{"GET"},
			Headers: []policy.HeaderMatch{{Name: "x-role", Value: role}}}},
	}})
}

func access(t *testing.T) wasmtest.PluginConfig {
	return wasmtest.PluginConfig{Name: "access", Configuration: config.Config{
		Form: config.Access, Destination: destination, Version: 42, Table: table(t).Encode(),
	}.Encode()}
}

func start(t *testing.T, c wasmtest.PluginConfig) *wasmtest.Plugin {
	t.Helper()
	p, err := module.StartPlugin(t.Context(), wasmtest.Options{Now: time.Unix(1000, 0)}, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// from is what the sidecar knows of a connection.
func from(uri string, expires int64) wasmtest.StreamInfo {
	facts := fmt.Sprintf("%s|%s|%d|80", uri, buyerLabel, expires)
	return wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", guest.ConnectionKey): wasmtest.Text(facts),
		wasmtest.Path("response", "code"):                  wasmtest.Int(200),
		wasmtest.Path("request", "duration"):               wasmtest.Span(time.Millisecond),
		wasmtest.Path("request", "total_size"):             wasmtest.Int(300),
		wasmtest.Path("response", "total_size"):            wasmtest.Int(4000),
	}}
}

func get(extra ...string) []wasmtest.Pair {
	return wasmtest.Pairs(append([]string{":method", "GET", ":path", "/books?page=2", ":authority", "store"}, extra...)...)
}

// TestCapabilitiesAreWhatTheModuleImports: one more would be a right it does
// not need, one less would fail it in the sidecar. Only of WASI TinyGo's runtime
// needs less than Go's; it must stay within what Go's may.
func TestCapabilitiesAreWhatTheModuleImports(t *testing.T) {
	allowed := slices.DeleteFunc(xds.Capabilities(), func(name string) bool {
		return strings.HasPrefix(name, "proxy_on_")
	})
	var imported []string
	for _, name := range module.Imports() {
		imported = append(imported, name[strings.IndexByte(name, '.')+1:])
	}
	slices.Sort(allowed)
	slices.Sort(imported)
	imported = slices.Compact(imported)
	if compiler == undertest.TinyGo {
		allowed = slices.DeleteFunc(allowed, func(name string) bool {
			return !strings.HasPrefix(name, "proxy_") && !slices.Contains(imported, name)
		})
	}
	if !slices.Equal(allowed, imported) {
		t.Errorf("allowed  %v\nimported %v", allowed, imported)
	}
}

func TestRequests(t *testing.T) {
	p := start(t, access(t))
	tests := []struct {
		name    string
		info    wasmtest.StreamInfo
		headers []wasmtest.Pair
		status  int // 0 passes
		reason  policy.Reason
	}{
		{"granted", from(buyer, 2000), get("x-role", "user"), 0, ""},
		{"another header value", from(buyer, 2000), get("x-role", "admin"), 403, policy.ReasonHeader},
		{"two values, the granted first", from(buyer, 2000), get("x-role", "user", "x-role", "admin"), 403, policy.ReasonHeader},
		{"two values, the granted last", from(buyer, 2000), get("x-role", "admin", "x-role", "user"), 403, policy.ReasonHeader},
		{"another source", from("spiffe://test/ns/shop/sa/thief", 2000), get("x-role", "user"), 403, policy.ReasonSource},
		{"two identities", from(buyer+","+buyer, 2000), get("x-role", "user"), 403, policy.ReasonSource},
		{"no certificate", from("-", 2000), get("x-role", "user"), 403, policy.ReasonSource},
		{"expired certificate", from(buyer, 1000), get("x-role", "user"), 403, policy.ReasonExpired},
		{"nothing known of the connection", wasmtest.StreamInfo{}, get("x-role", "user"), 403, policy.ReasonExpired},
		{"two readings of the path", from(buyer, 2000), wasmtest.Pairs(":method", "GET", ":path", "/books%2f"), 400, policy.ReasonReject},
		{"no path", from(buyer, 2000), wasmtest.Pairs(":method", "GET"), 400, policy.ReasonReject},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			series := traffic.DenialSeries(identity.Unknown(), destination, string(tt.reason))
			if tt.info.Properties != nil {
				series = traffic.DenialSeries(buyerName, destination, string(tt.reason))
			}
			before, _ := p.VM().Proxy().Metric(wasmtest.Counter, series)
			s := p.HTTP(tt.info)
			result := s.RequestHeaders(t.Context(), tt.headers, true)
			s.Done(t.Context())
			after, _ := p.VM().Proxy().Metric(wasmtest.Counter, series)
			switch {
			case tt.status == 0 && (result.Reply != nil || result.Action != wasmtest.Continue):
				t.Fatalf("was not let through: %+v", result.Reply)
			case tt.status == 0:
			case result.Reply == nil || result.Reply.Status != tt.status:
				t.Fatalf("got %+v, want %d", result.Reply, tt.status)
			case after.Value != before.Value+1:
				t.Errorf("the denial was not counted as %s", tt.reason)
			}
		})
	}
}

func TestFinishedRequestsAreCountedOnce(t *testing.T) {
	p := start(t, access(t))
	s := p.HTTP(from(buyer, 2000))
	s.RequestHeaders(t.Context(), get("x-role", "user"), true)
	s.Log(t.Context())
	s.Done(t.Context())
	m, ok := p.VM().Proxy().Metric(wasmtest.Counter, traffic.RequestSeries(buyerName, destination, 200))
	if !ok || m.Value != 1 {
		t.Errorf("got %+v, want one request", m)
	}
}

func TestPolicyVersionIsReportedWhenItRuns(t *testing.T) {
	p := start(t, access(t))
	if m, ok := p.VM().Proxy().Metric(wasmtest.Gauge, traffic.PolicyVersion); ok {
		t.Errorf("reported %d before the first tick: a VM that only validates would report too", m.Value)
	}
	if err := p.VM().Advance(t.Context(), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if m, _ := p.VM().Proxy().Metric(wasmtest.Gauge, traffic.PolicyVersion); m.Value != 42 {
		t.Errorf("got %d, want 42", m.Value)
	}
	if p.TickPeriod() != time.Second {
		t.Errorf("ticks every %v afterwards, want 1s", p.TickPeriod())
	}
}

func TestDamagedConfigurationIsRefused(t *testing.T) {
	good := access(t).Configuration
	for name, bad := range map[string][]byte{"empty": {}, "cut": good[:len(good)-1], "foreign": []byte(`{"rules":[]}`)} {
		c := wasmtest.PluginConfig{Name: "access", Configuration: bad}
		if _, err := module.StartPlugin(t.Context(), wasmtest.Options{}, c); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
}

func TestConnectionsEndWithTheirCertificate(t *testing.T) {
	p := start(t, wasmtest.PluginConfig{Name: "lifetime", Configuration: config.Config{
		Form: config.Lifetime, Destination: destination,
	}.Encode()})
	short, long := p.TCP(from(buyer, 1003)), p.TCP(from(buyer, 2000))
	short.Open(t.Context())
	long.Open(t.Context())
	if err := p.VM().Advance(t.Context(), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if short.Closed() {
		t.Error("closed before its certificate ended")
	}
	if err := p.VM().Advance(t.Context(), 3*time.Second); err != nil {
		t.Fatal(err)
	}
	if !short.Closed() || long.Closed() {
		t.Errorf("expired closed: %v, valid closed: %v", short.Closed(), long.Closed())
	}
	if m, _ := p.VM().Proxy().Metric(wasmtest.Counter, traffic.Expired); m.Value != 1 {
		t.Errorf("counted %d expired connections, want 1", m.Value)
	}
}
