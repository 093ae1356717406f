package xds_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// TestScrape: one identity, one path, and no door where nobody may come.
func TestScrape(t *testing.T) {
	const reader = "spiffe://test/ns/wasmesh-system/sa/controlplane"
	name := func(n string) mesh.Name { return mesh.Name{Namespace: "shop", Name: n} }
	at := netip.MustParseAddr("10.0.0.1")
	s := &mesh.Snapshot{TrustDomain: "test", Workloads: []mesh.Workload{
		{Name: name("a"), Address: at},
		{Name: name("b"), Address: at}, // a has the port
		{Name: name("c"), Address: at.Next(), Ports: []mesh.WorkloadPort{{Port: mesh.ScrapePort, Protocol: mesh.TCP}}},
		{Name: name("d"), Address: at, Addresses: []netip.Addr{at}, Captured: true},
	}}
	for w, want := range map[string]bool{"a": true, "b": false, "c": false, "d": true} {
		built := xds.Build(s, name(w), xds.Settings{Scraper: reader})
		listener, there := built[xds.ListenerType]["scrape"]
		if _, cluster := built[xds.ClusterType]["scrape"]; there != want || cluster != want {
			t.Errorf("%s: %v, want %v", w, there, want)
		}
		workload, _ := s.Workload(name(w))
		if _, why := s.ScrapeAt(workload, mesh.ScrapePort); (why == "") != want {
			t.Errorf("%s: %q", w, why)
		}
		if !there {
			continue
		}
		text, err := protojson.Marshal(listener)
		if err != nil {
			t.Fatal(err)
		}
		compact := strings.ReplaceAll(string(text), " ", "")
		for _, part := range []string{`"exact":"` + reader + `"`, `"path":"/stats/prometheus"`, `"requireClientCertificate":true`, `"exact":"GET"`, `"portValue":15090`} {
			if !strings.Contains(compact, part) {
				t.Errorf("%s lacks %s: %s", w, part, compact)
			}
		}
		for _, part := range []string{`"prefix":"/`, `"trafficDirection"`, `ns/"`} {
			if strings.Contains(compact, part) {
				t.Errorf("%s has %s: %s", w, part, compact)
			}
		}
	}
	if _, there := xds.Build(s, name("a"), xds.Settings{})[xds.ListenerType]["scrape"]; there {
		t.Error("a door for nobody")
	}
}

// TestPlaintextMetrics: a door for everybody, to the same one path, only where the
// mesh says so, and beside that of the control plane.
func TestPlaintextMetrics(t *testing.T) {
	at := netip.MustParseAddr("10.0.0.1")
	s := &mesh.Snapshot{TrustDomain: "test", Workloads: []mesh.Workload{
		{Name: mesh.Name{Namespace: "shop", Name: "a"}, Address: at, Addresses: []netip.Addr{at}, Captured: true},
		{Name: mesh.Name{Namespace: "shop", Name: "b"}, Address: at.Next(), Ports: []mesh.WorkloadPort{{Port: mesh.PrometheusPort, Protocol: mesh.TCP}}},
	}}
	for _, c := range []struct {
		workload string
		settings xds.Settings
		want     []string
	}{
		{"a", xds.Settings{}, nil},
		{"a", xds.Settings{PlaintextMetrics: true}, []string{"prometheus"}},
		{"a", xds.Settings{PlaintextMetrics: true, Scraper: "spiffe://test/x"}, []string{"prometheus", "scrape"}},
		{"b", xds.Settings{PlaintextMetrics: true}, nil},
		{"b", xds.Settings{PlaintextMetrics: true, Scraper: "spiffe://test/x"}, []string{"scrape"}},
	} {
		built := xds.Build(s, mesh.Name{Namespace: "shop", Name: c.workload}, c.settings)
		var got []string
		for _, name := range []string{"prometheus", "scrape"} {
			if _, there := built[xds.ListenerType][name]; there {
				got = append(got, name)
			}
		}
		if _, cluster := built[xds.ClusterType]["scrape"]; !slices.Equal(got, c.want) || cluster != (len(c.want) > 0) {
			t.Errorf("%s with %+v: %v, cluster %v; want %v", c.workload, c.settings, got, cluster, c.want)
		}
		listener, there := built[xds.ListenerType]["prometheus"]
		if !there {
			continue
		}
		text, err := protojson.Marshal(listener)
		if err != nil {
			t.Fatal(err)
		}
		compact := strings.ReplaceAll(string(text), " ", "")
		for _, part := range []string{`"path":"/stats/prometheus"`, `"exact":"GET"`, `"portValue":15091`, `"bindToPort":false`} {
			if !strings.Contains(compact, part) {
				t.Errorf("no %s: %s", part, compact)
			}
		}
		if strings.Contains(compact, `"prefix":"/`) || strings.Contains(compact, "transportSocket\"") {
			t.Errorf("more than one path, or TLS: %s", compact)
		}
	}
}
