package xds

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Attached is what runs for a mesh.Filter: a module that sidecars can find, and
// the configuration with which it was seen to start.
type Attached struct {
	// Module is the module's sha256 in hexadecimal.
	Module string
	// Capabilities are the host calls it can make and the callbacks it answers:
	// all that its VM is given.
	Capabilities  []string
	Configuration string
}

// AttachedPrefix is how the names of attached filters begin, as sidecars know
// them; the name of the object follows.
const AttachedPrefix = "wasmesh.filter."

// forbiddenCalls are withheld from modules of users, whatever they import: by
// foreign functions a filter can write what other filters rely on, such as the
// facts of a connection.
func forbiddenCalls() []string { return []string{"proxy_call_foreign_function"} }

// attachedFilters are the places of a workload's filters, in their order. What
// decides comes after them: it judges the request that the application will
// see.
func (b *builder) attachedFilters() []*hcmv3.HttpFilter {
	var out []*hcmv3.HttpFilter
	for _, f := range b.workload.Filters {
		out = append(out, &hcmv3.HttpFilter{
			Name: AttachedPrefix + f.Name.String(),
			ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
				ConfigSource:  warming(),
				DefaultConfig: pack(withoutFilter(f)),
				TypeUrls:      []string{typeURL(&httpwasmv3.Wasm{}), typeURL(&httprbacv3.RBAC{})},
			}},
		})
	}
	return out
}

// withoutFilter is what stands there while the filter cannot run: a native
// filter that denies everything, for want of a policy, or nothing, for want of
// rules.
func withoutFilter(f mesh.Filter) *httprbacv3.RBAC {
	if f.Pass {
		return &httprbacv3.RBAC{}
	}
	return &httprbacv3.RBAC{Rules: &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_ALLOW}}
}

// attach adds the configurations of the filters that can run, where requests
// come in.
func (b *builder) attach() {
	if !slices.ContainsFunc(b.workload.Ports, func(p mesh.WorkloadPort) bool { return !p.Protocol.Opaque() }) {
		return
	}
	for _, f := range b.workload.Filters {
		if a, ok := b.settings.Filters[f.Name]; ok {
			name := AttachedPrefix + f.Name.String()
			b.out.add(FilterType, name, &corev3.TypedExtensionConfig{
				Name: name, TypedConfig: pack(&httpwasmv3.Wasm{Config: attachedPlugin(name, a)}),
			})
		}
	}
}

func attachedPlugin(name string, a Attached) *wasmv3.PluginConfig {
	capabilities := restrictedTo(a.Capabilities)
	for _, name := range forbiddenCalls() {
		delete(capabilities.AllowedCapabilities, name)
	}
	return &wasmv3.PluginConfig{
		Name:          name,
		RootId:        name,
		Configuration: pack(wrapperspb.String(a.Configuration)),
		// A trap denies, whatever is said about failures: a filter that ran has
		// touched the request.
		FailurePolicy: wasmv3.FailurePolicy_FAIL_RELOAD,
		ReloadConfig: &wasmv3.ReloadConfig{Backoff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(reloadInterval),
		}},
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			VmId:                        AttachedPrefix + a.Module,
			Runtime:                     "envoy.wasm.runtime.v8",
			CapabilityRestrictionConfig: capabilities,
			Code: &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
				Specifier: &corev3.DataSource_Filename{Filename: moduleFile(a.Module)},
			}}},
		}},
	}
}
