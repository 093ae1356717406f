package xds

import (
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/config"
)

// managers are the HTTP connection managers of a listener: of the mesh's chain,
// and of the one for plaintext if there is one.
func managers(t *testing.T, l *listenerv3.Listener) (out []*hcmv3.HttpConnectionManager) {
	t.Helper()
	for _, chain := range append(slices.Clone(l.FilterChains), l.DefaultFilterChain) {
		for _, f := range chain.GetFilters() {
			m := &hcmv3.HttpConnectionManager{}
			if f.GetTypedConfig().MessageIs(m) {
				if err := f.GetTypedConfig().UnmarshalTo(m); err != nil {
					t.Fatal(err)
				}
				out = append(out, m)
			}
		}
	}
	return out
}

// Filters of users stand before what decides, in their order, wherever HTTP
// comes in; those that cannot run are held by their default.
func TestAttachedFiltersStandBeforeAccess(t *testing.T) {
	s := shop()
	first, second := mesh.Filter{Name: name("shop/z")}, mesh.Filter{Name: name("shop/a"), Pass: true}
	for i := range s.Workloads {
		if s.Workloads[i].Name == name("shop/store-v1") {
			s.Workloads[i].Filters, s.Workloads[i].Grace = []mesh.Filter{first, second}, true
		}
	}
	set := settings()
	set.Filters = map[mesh.Name]Attached{first.Name: {
		Module: strings.Repeat("cd", 32), Capabilities: []string{"proxy_log", "proxy_call_foreign_function", "proxy_on_request_headers"}, Configuration: "x",
	}}
	r := Build(s, name("shop/store-v1"), set)
	all := managers(t, r[ListenerType]["inbound|80"].(*listenerv3.Listener))
	if len(all) != 2 {
		t.Fatalf("%d managers", len(all))
	}
	for i, m := range all {
		var names []string
		for _, f := range m.HttpFilters {
			names = append(names, f.Name)
		}
		want := []string{"wasmesh.filter.shop/z", "wasmesh.filter.shop/a"}
		if i == 0 {
			want = append(want, config.AccessFilter)
		}
		if !slices.Equal(names[:len(want)], want) || names[len(names)-1] != "envoy.filters.http.router" {
			t.Errorf("manager %d has %v", i, names)
		}
		for n, denies := range []bool{true, false} {
			var without httprbacv3.RBAC
			if err := m.HttpFilters[n].GetConfigDiscovery().GetDefaultConfig().UnmarshalTo(&without); err != nil || (without.Rules != nil) != denies {
				t.Errorf("%s has the default %v, %v", m.HttpFilters[n].Name, &without, err)
			}
		}
	}
	if r[FilterType]["wasmesh.filter.shop/a"] != nil {
		t.Error("a filter without a module has a configuration")
	}
	var wasm httpwasmv3.Wasm
	if err := r[FilterType]["wasmesh.filter.shop/z"].(*corev3.TypedExtensionConfig).TypedConfig.UnmarshalTo(&wasm); err != nil {
		t.Fatal(err)
	}
	vm := wasm.Config.GetVmConfig()
	allowed := vm.CapabilityRestrictionConfig.AllowedCapabilities
	if len(allowed) != 2 || allowed["proxy_log"] == nil || !strings.HasSuffix(vm.VmId, set.Filters[first.Name].Module) {
		t.Errorf("got %v", vm)
	}
	if other := Build(s, name("shop/store-v2"), set); other[FilterType]["wasmesh.filter.shop/z"] != nil {
		t.Error("another workload has it too")
	}
}
