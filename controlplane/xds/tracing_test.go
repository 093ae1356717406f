package xds

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// TestTracing: every request is told of or none, to the one collector.
func TestTracing(t *testing.T) {
	for _, tt := range []struct {
		tracing Tracing
		cluster string // how the collector is found
		tls     bool
	}{
		{Tracing{}, "", false},
		{Tracing{Host: "192.0.2.1", Port: 4317, Percent: 5}, "STATIC", false},
		{Tracing{Host: "collector.example", Port: 4317, Percent: 5}, "STRICT_DNS", false},
		{Tracing{Host: "collector.example", Port: 4317, Roots: "PEM"}, "STRICT_DNS", true},
		{Tracing{Host: "2001:db8::1", Port: 4317, Roots: "PEM"}, "STATIC", true},
	} {
		on := settings()
		on.Tracing = tt.tracing
		s := shop()
		for i := range s.Workloads {
			s.Workloads[i].Grace = true
		}
		built := Build(s, name("shop/store-v1"), on)
		seen := 0
		for n, m := range built[ListenerType] {
			for _, manager := range managers(t, m.(*listenerv3.Listener)) {
				seen++
				if err := manager.ValidateAll(); err != nil {
					t.Error(err)
				}
				if there := manager.GetTracing() != nil; there != (tt.cluster != "") || there && manager.GetTracing().GetRandomSampling().GetValue() != tt.tracing.Percent {
					t.Errorf("%+v: %s traces: %v", tt.tracing, n, manager.GetTracing())
				}
			}
		}
		if seen < 3 {
			t.Errorf("only %d managers", seen)
		}
		cluster, there := built[ClusterType][collectorName].(*clusterv3.Cluster)
		if there != (tt.cluster != "") {
			t.Fatalf("%+v: cluster %v", tt.tracing, cluster)
		}
		if !there {
			if strings.Contains(everything(built), "opentelemetry") {
				t.Error("something is left where nothing is told")
			}
			continue
		}
		if err := cluster.ValidateAll(); err != nil {
			t.Error(err)
		}
		// A name that nobody knows must not keep a sidecar from its start.
		waits := cluster.GetWaitForWarmOnInit() == nil || cluster.GetWaitForWarmOnInit().GetValue()
		if cluster.GetType().String() != tt.cluster || waits != (tt.cluster == "STATIC") || (cluster.GetTransportSocket() != nil) != tt.tls {
			t.Errorf("%+v: %v", tt.tracing, cluster)
		}
	}
}
