package xds

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/policy"
)

func name(s string) mesh.Name {
	n, _ := mesh.ParseName(s)
	return n
}

// shop is a mesh of one caller and a store with two versions behind a split.
func shop() *mesh.Snapshot {
	port := []mesh.WorkloadPort{{Port: 80, Protocol: mesh.HTTP1}}
	workload := func(n, account string, host string, ports []mesh.WorkloadPort) mesh.Workload {
		return mesh.Workload{
			Name: name(n), ServiceAccount: name(account), Ports: ports,
			Address:     netip.MustParseAddr("127.10.0." + host),
			Application: netip.MustParseAddr("127.20.0." + host),
			Loopback:    netip.MustParsePrefix("127.3" + host + ".0.0/16"),
		}
	}
	service := func(n string, offset uint16, hosts ...string) mesh.Service {
		p := mesh.ServicePort{Port: 8080, Protocol: mesh.HTTP1}
		for _, h := range hosts {
			p.Endpoints = append(p.Endpoints, mesh.Endpoint{
				Workload: name("shop/store-v" + h), ServiceAccount: name("shop/store"),
				Address: netip.MustParseAddr("127.10.0." + h), Port: 80,
			})
		}
		return mesh.Service{Name: name(n), Offset: offset, Ports: []mesh.ServicePort{p}}
	}
	return &mesh.Snapshot{
		TrustDomain: "test",
		Services:    []mesh.Service{service("shop/store", 0x0101, "1", "2"), service("shop/store-v1", 0x0102, "1"), service("shop/store-v2", 0x0103, "2")},
		Workloads: []mesh.Workload{
			workload("shop/caller", "shop/caller", "3", nil),
			workload("shop/store-v1", "shop/store", "1", port),
			workload("shop/store-v2", "shop/store", "2", port),
		},
		Access: []mesh.Access{{ServiceAccount: name("shop/store"), Grants: []policy.Grant{{
			Name: "shop/callers", Sources: []string{"spiffe://test/ns/shop/sa/caller"},
			Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{{Name: "any"}},
		}}}},
		Splits: []mesh.Split{{Name: name("shop/split"), Root: name("shop/store"), Backends: []mesh.Backend{
			{Service: name("shop/store-v1"), Weight: 50}, {Service: name("shop/store-v2"), Weight: 0}, {Service: name("shop/missing"), Weight: 50},
		}}},
	}
}

func settings() Settings {
	return Settings{Module: strings.Repeat("ab", 32), LeafLifetime: 24 * time.Hour}
}

func TestTwoBuildsAreByteEqual(t *testing.T) {
	a, b := Build(shop(), name("shop/store-v1"), settings()), Build(shop(), name("shop/store-v1"), settings())
	n := 0
	for typeURL, byName := range a {
		for resource, m := range byName {
			x, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			y, _ := proto.MarshalOptions{Deterministic: true}.Marshal(b[typeURL][resource])
			if string(x) != string(y) {
				t.Errorf("%s differs", resource)
			}
			n++
		}
	}
	if n < 10 {
		t.Fatalf("only %d resources were compared", n)
	}
}

// TestEnvoysOwnConstraintsHold asks the validators generated from Envoy's API.
func TestEnvoysOwnConstraintsHold(t *testing.T) {
	for _, proxy := range []string{"shop/caller", "shop/store-v1"} {
		for _, byName := range Build(shop(), name(proxy), settings()) {
			for resource, m := range byName {
				if err := m.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
					t.Errorf("%s: %v", resource, err)
				}
			}
		}
	}
}

func TestProxyGetsOnlyWhatItNeeds(t *testing.T) {
	caller := Build(shop(), name("shop/caller"), settings())
	if len(caller[FilterType]) != 0 {
		t.Error("a pure client got a policy")
	}
	for resource := range caller[ListenerType] {
		if strings.HasPrefix(resource, "inbound") {
			t.Errorf("a pure client got %s", resource)
		}
	}
	text := ""
	for _, byName := range Build(shop(), name("shop/store-v1"), settings()) {
		for _, m := range byName {
			text += prototext.Format(m)
		}
	}
	if strings.Contains(text, "127.20.0.2") || strings.Contains(text, "127.32.") {
		t.Error("a proxy was told of another's application or loopback network")
	}
	if got := Build(shop(), name("shop/nobody"), settings()); len(got) != 0 {
		t.Errorf("an unknown proxy got %v", got)
	}
}

func TestClustersArePinnedToTheirEndpointsIdentities(t *testing.T) {
	s := shop()
	s.Services[2].Ports[0].Endpoints = nil
	r := Build(s, name("shop/caller"), settings())
	for service, want := range map[string]string{
		"shop/store-v1": "spiffe://test/ns/shop/sa/store",
		"shop/store-v2": "spiffe://test/ns/", // an empty list would mean any
	} {
		c := r[ClusterType][OutboundName(name(service), 8080)].(*clusterv3.Cluster)
		var tls tlsv3.UpstreamTlsContext
		if err := c.GetTransportSocket().GetTypedConfig().UnmarshalTo(&tls); err != nil {
			t.Fatal(err)
		}
		pins := tls.GetCommonTlsContext().GetCombinedValidationContext().GetDefaultValidationContext().GetMatchTypedSubjectAltNames()
		if len(pins) != 1 || pins[0].GetMatcher().GetExact() != want {
			t.Errorf("%s is pinned to %v, want %s", service, pins, want)
		}
		params := tls.GetCommonTlsContext().GetTlsParams()
		if params.GetTlsMinimumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 || params.GetTlsMaximumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 {
			t.Errorf("%s: TLS is not 1.3 only", service)
		}
	}
}

func TestSplitLeavesOutBackendsWithoutThePort(t *testing.T) {
	r := Build(shop(), name("shop/caller"), settings())
	action := func(service string) *routev3.RouteAction {
		c := r[RouteType][OutboundName(name(service), 8080)].(*routev3.RouteConfiguration)
		return c.GetVirtualHosts()[0].GetRoutes()[0].GetRoute()
	}
	var got []string
	for _, w := range action("shop/store").GetWeightedClusters().GetClusters() {
		got = append(got, fmt.Sprintf("%s=%d", w.GetName(), w.GetWeight().GetValue()))
	}
	want := []string{"outbound|shop/store-v1|8080=50", "outbound|shop/store-v2|8080=0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v (smi-rules 55, 64, 65)", got, want)
	}
	if action("shop/store-v1").GetCluster() != "outbound|shop/store-v1|8080" {
		t.Error("a service without a split is not routed to itself")
	}
}

func TestWithoutModuleTheFilterIsMissing(t *testing.T) {
	r := Build(shop(), name("shop/store-v1"), Settings{})
	if len(r[FilterType]) != 0 {
		t.Error("a filter without a module would never start")
	}
}

func TestPolicyEditChangesOneResource(t *testing.T) {
	before := Build(shop(), name("shop/store-v1"), settings())
	s := shop()
	s.Access = nil
	after := Build(s, name("shop/store-v1"), settings())
	for typeURL, byName := range before {
		for resource, m := range byName {
			if same := proto.Equal(m, after[typeURL][resource]); same == (resource == config.AccessFilter) {
				t.Errorf("%s: unchanged is %v", resource, same)
			}
		}
	}
}

func TestEveryFilterHasADefault(t *testing.T) {
	for _, d := range []*corev3.ExtensionConfigSource{discoveredAccess().GetConfigDiscovery(), discoveredLifetime().GetConfigDiscovery()} {
		if d.GetDefaultConfig() == nil || d.GetApplyDefaultConfigWithoutWarming() {
			t.Errorf("%v: no default, or one that does not wait", d)
		}
	}
}
