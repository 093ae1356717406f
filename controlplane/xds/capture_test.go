package xds

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// pods is a mesh of a caller and two replicas, behind a service with two cluster
// IPs and behind two headless ones.
func pods() *mesh.Snapshot {
	pod := func(n, account, host string, ports ...mesh.WorkloadPort) mesh.Workload {
		four, six := netip.MustParseAddr("10.1.0."+host), netip.MustParseAddr("fd00::"+host)
		return mesh.Workload{
			Name: name(n), ServiceAccount: name(account), Kind: mesh.KindPod, Captured: true,
			Address: four, Application: four, Addresses: []netip.Addr{four, six}, Ports: ports,
		}
	}
	web := mesh.WorkloadPort{Port: 8080, Protocol: mesh.HTTP1}
	talk := mesh.WorkloadPort{Port: 9000, Protocol: mesh.TCP}
	behind := func(port mesh.ServicePort, target uint16) mesh.ServicePort {
		for _, host := range []string{"1", "2"} {
			port.Endpoints = append(port.Endpoints, mesh.Endpoint{
				Workload: name("shop/store-" + host), ServiceAccount: name("shop/store"),
				Address: netip.MustParseAddr("10.1.0." + host), Port: target,
			})
		}
		return port
	}
	ports := func(web uint16) []mesh.ServicePort {
		return []mesh.ServicePort{
			behind(mesh.ServicePort{Port: web, Protocol: mesh.HTTP1}, 8080), behind(mesh.ServicePort{Port: 9000, Protocol: mesh.TCP}, 9000),
		}
	}
	return &mesh.Snapshot{
		TrustDomain: "test",
		Services: []mesh.Service{
			{Name: name("shop/each"), Headless: true, Ports: ports(8080)}, {Name: name("shop/every"), Headless: true, Ports: ports(8080)},
			{Name: name("shop/store"), Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")}, Ports: ports(80)},
		},
		Workloads: []mesh.Workload{
			pod("shop/caller", "shop/caller", "3"), pod("shop/store-1", "shop/store", "1", web, talk), pod("shop/store-2", "shop/store", "2", web, talk),
		},
		Access: granted(policy.Match{Name: "any"}),
	}
}

func granted(m policy.Match) []mesh.Access {
	return []mesh.Access{{ServiceAccount: name("shop/store"), Grants: []policy.Grant{{
		Name: "shop/callers", Sources: []string{"spiffe://test/ns/shop/sa/caller"}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{m},
	}}}}
}

func listenersOf(r Resources) map[string]*listenerv3.Listener {
	out := map[string]*listenerv3.Listener{}
	for n, m := range r[ListenerType] {
		out[n] = m.(*listenerv3.Listener)
	}
	return out
}

// sockets lists the addresses of a listener.
func sockets(l *listenerv3.Listener) string {
	at := []string{l.GetAddress().GetSocketAddress().GetAddress()}
	for _, more := range l.GetAdditionalAddresses() {
		at = append(at, more.GetAddress().GetSocketAddress().GetAddress())
	}
	return strings.Join(at, " ")
}

// TestCapturedListeners: only two sockets are opened, and no two listeners are for
// one address, which Envoy would refuse.
func TestCapturedListeners(t *testing.T) {
	want := map[string]map[string]string{
		"shop/caller": {
			"outbound": "127.0.0.1 ::1", "inbound": "0.0.0.0 ::",
			"outbound|shop/store|80": "10.96.0.1 fd00:96::1", "outbound|shop/store|9000": "10.96.0.1 fd00:96::1",
			"outbound|shop/each|8080|10.1.0.1|8080": "10.1.0.1 fd00::1", "outbound|shop/each|8080|10.1.0.2|8080": "10.1.0.2 fd00::2",
			"outbound|shop/each|9000|10.1.0.1|9000": "10.1.0.1 fd00::1", "outbound|shop/each|9000|10.1.0.2|9000": "10.1.0.2 fd00::2",
		},
		"shop/store-1": {
			"outbound": "127.0.0.1 ::1", "inbound": "0.0.0.0 ::", "inbound|8080": "10.1.0.1 fd00::1", "inbound|9000": "10.1.0.1 fd00::1",
			"outbound|shop/store|80": "10.96.0.1 fd00:96::1", "outbound|shop/store|9000": "10.96.0.1 fd00:96::1",
			"outbound|shop/each|8080|10.1.0.2|8080": "10.1.0.2 fd00::2", "outbound|shop/each|9000|10.1.0.2|9000": "10.1.0.2 fd00::2",
		},
	}
	for proxy, wanted := range want {
		got := map[string]string{}
		for n, l := range listenersOf(Build(pods(), name(proxy), settings())) {
			got[n] = sockets(l)
			own := n == "outbound" || n == "inbound"
			if l.GetUseOriginalDst().GetValue() != own || l.GetBindToPort() == nil == !own {
				t.Errorf("%s of %s: bind_to_port %v, use_original_dst %v", n, proxy, l.GetBindToPort(), l.GetUseOriginalDst())
			}
		}
		if !maps.Equal(got, wanted) {
			t.Errorf("%s has %v\nwant %v", proxy, got, wanted)
		}
	}
}

// TestCapturedPolicyEdit: an edit that changes what some caller may do, and one
// that takes all from them, touch no listener for HTTP; opaque ports alone have
// the refusal in the listener.
func TestCapturedPolicyEdit(t *testing.T) {
	edited, closed := pods(), pods()
	edited.Access = granted(policy.Match{Name: "read", Methods: []string{"GET"}})
	closed.Access = nil
	for _, proxy := range []string{"shop/caller", "shop/store-1"} {
		before := Build(pods(), name(proxy), settings())
		for what, after := range map[string]Resources{"edit": Build(edited, name(proxy), settings()), "revocation": Build(closed, name(proxy), settings())} {
			a, b := listenersOf(before), listenersOf(after)
			if !slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))) {
				t.Errorf("%s: other listeners after the %s", proxy, what)
			}
			for n := range a {
				if !proto.Equal(a[n], b[n]) && !(what == "revocation" && strings.Contains(n, "|9000")) {
					t.Errorf("%s: the %s changes listener %s", proxy, what, n)
				}
			}
		}
	}
}

// TestRoutesOfHeadless: routes are there only where a listener names them, and go
// to the endpoint that was dialled, whose identity is pinned.
func TestRoutesOfHeadless(t *testing.T) {
	caller := Build(pods(), name("shop/caller"), settings())
	if _, ok := caller[RouteType]["outbound|shop/every|8080"]; ok {
		t.Error("a service whose listeners another has got routes")
	}
	if route := prototext.Format(caller[RouteType]["outbound|shop/each|8080"]); !strings.Contains(route, `"dialled|shop/each|8080"`) {
		t.Errorf("routes of the headless service: %s", route)
	}
	cluster := caller[ClusterType]["dialled|shop/each|8080"].(*clusterv3.Cluster)
	if cluster.GetType() != clusterv3.Cluster_ORIGINAL_DST || cluster.GetTransportSocket() == nil {
		t.Errorf("cluster %v", cluster)
	}
	if pins := string(cluster.GetTransportSocket().GetTypedConfig().GetValue()); !strings.Contains(pins, "spiffe://test/ns/shop/sa/store") {
		t.Error("the cluster accepts anybody")
	}
}

// TestCapturedGrace: what is passed on under grace is meant for the pod itself.
func TestCapturedGrace(t *testing.T) {
	strict, relaxed := pods(), pods()
	relaxed.Workloads[1].Grace = true
	if r := Build(strict, name("shop/store-1"), settings()); r[ClusterType]["passthrough|inbound"] != nil {
		t.Error("a strict pod can be reached unasked")
	}
	r := Build(relaxed, name("shop/store-1"), settings())
	inbound := listenersOf(r)["inbound"]
	if got := inbound.GetDefaultFilterChain().GetName(); got != "unknown" || len(inbound.GetFilterChains()) != 3 {
		t.Errorf("default is %q of %d chains", got, len(inbound.GetFilterChains()))
	}
	for _, n := range []string{"passthrough|inbound", "inbound|8080"} {
		from := r[ClusterType][n].(*clusterv3.Cluster).GetUpstreamBindConfig()
		if from.GetSourceAddress().GetAddress() != inside4 || from.GetExtraSourceAddresses()[0].GetAddress().GetAddress() != inside6 {
			t.Errorf("%s dials the application from %v", n, from)
		}
	}
}
