package normalize

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const managerType = "envoy.filters.network.http_connection_manager"

// bootstrap is a configuration with the inbound listener that the product
// builds, without what stands before and behind the reading of the path: TLS
// and the filters of the module.
func bootstrap(t *testing.T, applicationPort uint16, adminSocket string) *bootstrapv3.Bootstrap {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	workload := mesh.Workload{
		Name:           mesh.Name{Namespace: "test", Name: "echo"},
		ServiceAccount: mesh.Name{Namespace: "test", Name: "echo"},
		Address:        loopback,
		Application:    loopback,
		Loopback:       netip.MustParsePrefix("127.1.0.0/16"),
		Ports:          []mesh.WorkloadPort{{Port: applicationPort, Name: "http", Protocol: mesh.HTTP1}},
	}
	snapshot := &mesh.Snapshot{TrustDomain: "test", Workloads: []mesh.Workload{workload}}
	resources := xds.Build(snapshot, workload.Name, xds.Settings{LeafLifetime: time.Hour})
	name := "inbound|" + strconv.Itoa(int(applicationPort))
	cluster, ok := resources[xds.ClusterType][name].(*clusterv3.Cluster)
	if !ok {
		t.Fatalf("the product builds no cluster %q", name)
	}
	built, ok := resources[xds.ListenerType][name].(*listenerv3.Listener)
	if !ok {
		t.Fatalf("the product builds no listener %q", name)
	}
	return &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: "test", Cluster: "test"},
		Admin: &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{
			Pipe: &corev3.Pipe{Path: adminSocket},
		}}},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{plain(t, built)},
			Clusters:  []*clusterv3.Cluster{cluster},
		},
	}
}

// plain returns a listener at any free port, with nothing of built but its
// connection manager.
func plain(t *testing.T, built *listenerv3.Listener) *listenerv3.Listener {
	t.Helper()
	manager := managerOf(t, built)
	manager.CodecType = hcmv3.HttpConnectionManager_AUTO
	filters := manager.GetHttpFilters()
	manager.HttpFilters = filters[len(filters)-1:]
	if got := manager.GetHttpFilters()[0].GetName(); got != "envoy.filters.http.router" {
		t.Fatalf("the product's last filter is %s, want the router", got)
	}
	packed, err := anypb.New(manager)
	if err != nil {
		t.Fatal(err)
	}
	return &listenerv3.Listener{
		Name: "plain",
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address:       "127.0.0.1",
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       managerType,
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed},
		}}}},
	}
}

func managerOf(t *testing.T, built *listenerv3.Listener) *hcmv3.HttpConnectionManager {
	t.Helper()
	for _, chain := range built.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			if filter.GetName() != managerType {
				continue
			}
			manager := &hcmv3.HttpConnectionManager{}
			if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
				t.Fatal(err)
			}
			if len(manager.GetHttpFilters()) == 0 {
				t.Fatal("the product's connection manager has no filters")
			}
			return manager
		}
	}
	t.Fatal("the product's inbound listener has no connection manager")
	return nil
}
