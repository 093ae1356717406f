package controlplane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// A refusal is told on the objects that the resource was made of.
func TestRefused(t *testing.T) {
	name := func(s string) mesh.Name { return mesh.Name{Namespace: "shop", Name: s} }
	s := &mesh.Snapshot{
		Workloads: []mesh.Workload{{Name: name("buyer"), ServiceAccount: name("nobody")}, {Name: name("store"), ServiceAccount: name("store")}},
		Access:    []mesh.Access{{ServiceAccount: name("store"), Grants: []policy.Grant{{Name: "shop/buyers"}, {Name: "shop/viewers"}}}},
		Splits:    []mesh.Split{{Name: name("halves"), Root: name("store")}},
	}
	for _, c := range []struct{ proxy, typeURL, resource, want string }{
		{"store", xds.FilterType, xds.AttachedPrefix + "shop/headers", "WasmFilter shop/headers"},
		{"store", xds.FilterType, config.AccessFilter, "TrafficTarget shop/buyers, TrafficTarget shop/viewers"},
		{"store", xds.FilterType, config.ConnectionsFilter, "TrafficTarget shop/buyers, TrafficTarget shop/viewers"},
		{"buyer", xds.FilterType, config.AccessFilter, "Workload shop/buyer"},
		{"buyer", xds.ClusterType, "outbound|shop/store|80", "Service shop/store"},
		{"buyer", xds.RouteType, "outbound|shop/store|80", "Service shop/store, TrafficSplit shop/halves"},
		{"buyer", xds.EndpointType, "outbound|shop/store|80|0123abcd", "Service shop/store"},
		{"buyer", xds.ListenerType, "inbound|80", "Workload shop/buyer"},
		{"buyer", xds.ListenerType, "outbound|odd", "Workload shop/buyer"},
		{"buyer", xds.ListenerType, "outbound|odd|80", "Workload shop/buyer"},
	} {
		proxies := []serve.Proxy{{Name: name(c.proxy), Refusals: []serve.Refusal{{Type: c.typeURL, Resources: []string{c.resource}, Cause: "no"}}}}
		var got []string
		for _, p := range refused(s, proxies) {
			got = append(got, p.Object.String())
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s of %s: %v, want %s", c.resource, c.proxy, got, c.want)
		}
	}
}

// A thousand sidecars that refuse the same are one problem.
func TestRefusedByMany(t *testing.T) {
	var proxies []serve.Proxy
	for i := range 1000 {
		proxies = append(proxies, serve.Proxy{Name: mesh.Name{Namespace: "shop", Name: fmt.Sprint(i)},
			Refusals: []serve.Refusal{{Type: xds.FilterType, Resources: []string{xds.AttachedPrefix + "shop/headers"}, Cause: "it is bad."}}})
	}
	problems := refused(&mesh.Snapshot{}, proxies)
	if len(problems) != 1 || !strings.Contains(problems[0].Cause, "1000 sidecars, shop/0 first, refused") || !strings.Contains(problems[0].Cause, ": it is bad.") {
		t.Errorf("told is %v", problems)
	}
}
