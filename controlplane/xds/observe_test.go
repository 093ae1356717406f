package xds

import (
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// managerOf is the connection manager of a listener's only chain.
func managerOf(t *testing.T, m proto.Message) *hcmv3.HttpConnectionManager {
	t.Helper()
	filters := m.(*listenerv3.Listener).GetFilterChains()[0].GetFilters()
	var manager hcmv3.HttpConnectionManager
	if err := filters[len(filters)-1].GetTypedConfig().UnmarshalTo(&manager); err != nil {
		t.Fatal(err)
	}
	return &manager
}

// Only inbound listeners tell, and only what is on this list leaves the sidecar.
func TestObserving(t *testing.T) {
	told := 0
	for name, m := range Build(shop(), name("shop/store-v1"), settings())[ListenerType] {
		manager := managerOf(t, m)
		if err := manager.ValidateAll(); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(name, "inbound|") {
			for _, log := range manager.GetAccessLog() {
				if typeURL := log.GetTypedConfig().GetTypeUrl(); !strings.HasSuffix(typeURL, "access_loggers.stats.v3.Config") {
					t.Errorf("%s does more than count: %s", name, typeURL)
				}
			}
			continue
		}
		told++
		var log grpclogv3.TcpGrpcAccessLogConfig
		if err := manager.GetAccessLog()[0].GetTypedConfig().UnmarshalTo(&log); err != nil {
			t.Fatal(err)
		}
		var tags []string
		for _, tag := range log.GetCommonConfig().GetCustomTags() {
			tags = append(tags, tag.GetTag()+"="+tag.GetLiteral().GetValue()+tag.GetValue())
		}
		want := []string{"port=80", "method=%REQ(:METHOD)%", "path=%PATH(NQ:PATH)%", "code=%RESPONSE_CODE%"}
		if !slices.Equal(tags, want) || len(log.GetCommonConfig().GetFilterStateObjectsToLog()) > 0 || log.GetCommonConfig().GetLogName() != observe.LogName {
			t.Errorf("%s tells %q in %s", name, tags, log.GetCommonConfig().GetLogName())
		}
		if key := manager.GetAccessLog()[0].GetFilter().GetRuntimeFilter().GetRuntimeKey(); key != observeKey {
			t.Errorf("%s is switched by %q", name, key)
		}
	}
	if told != 1 {
		t.Errorf("%d listeners tell, want 1", told)
	}
}

// TestAModeReplacesNoListener: what a namespace's mode changes is the switch, the
// filter's configuration, and where a sidecar sends what it refused before; never
// a listener that speaks HTTP, whose connections would end.
func TestAModeReplacesNoListener(t *testing.T) {
	enforced := Build(shop(), name("shop/store-v1"), settings())
	for mode, percent := range map[policy.Mode]float64{policy.Enforce: 0, policy.Audit: 100, policy.Permissive: 100} {
		s := shop()
		for i := range s.Workloads {
			s.Workloads[i].Mode = mode
		}
		built := Build(s, name("shop/store-v1"), settings())
		for n, m := range built[ListenerType] {
			if !proto.Equal(m, enforced[ListenerType][n]) {
				t.Errorf("mode %v changes %s", mode, n)
			}
		}
		layer := built[RuntimeType][RuntimeLayer].(*runtimev3.Runtime).GetLayer().GetFields()
		if got := layer[observeKey].GetNumberValue(); got != percent {
			t.Errorf("mode %v: %v %% are observed, want %v", mode, got, percent)
		}
	}
}

// A TCP proxy tells of a connection when it is made, and carries no request.
func TestObservingConnections(t *testing.T) {
	p := &tcpproxyv3.TcpProxy{StatPrefix: "x", ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: "x"}}
	observeTCP(p, 5432)
	if err := p.ValidateAll(); err != nil {
		t.Error(err)
	}
	if len(p.GetAccessLog()) != 1 || !p.GetAccessLogOptions().GetFlushAccessLogOnConnected() {
		t.Errorf("got %v", p)
	}
}

// The cluster to which entries go is the one that every sidecar starts with.
func TestObservationsGoToTheBootstrapsCluster(t *testing.T) {
	bootstrap, err := sidecar.Bootstrap(sidecar.Config{Workload: "a/b", TrustDomain: "test", XDS: "127.0.0.1:1", RunDir: "/run"})
	if err != nil || !strings.Contains(string(bootstrap), `"name": "`+controlPlaneCluster+`"`) {
		t.Errorf("the bootstrap has no cluster %q: %v", controlPlaneCluster, err)
	}
	if sidecar.RuntimeLayer != RuntimeLayer {
		t.Errorf("the bootstrap asks for the switches %q, and %q are given", sidecar.RuntimeLayer, RuntimeLayer)
	}
}
