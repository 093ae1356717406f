package xds

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	networkwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
)

// ModuleDirectory is where the sidecar finds modules, each as <digest>.wasm.
const ModuleDirectory = "./modules/"

// connectionFacts keeps what the module needs to know of a connection, made once,
// at the end of the TLS handshake: as one string what each stream needs, and apart
// from it what is read once for each peer.
func connectionFacts(port uint16) *listenerv3.Filter {
	return networkFilter("envoy.filters.network.set_filter_state", &setfilterstatev3.Config{
		OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
			connectionFact(guest.ConnectionKey, guest.ConnectionFormat+strconv.Itoa(int(port))),
			connectionFact(guest.SubjectKey, guest.SubjectFormat),
		},
	})
}

func connectionFact(key, format string) *filterstatev3.FilterStateValue {
	return &filterstatev3.FilterStateValue{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		FactoryKey: "envoy.string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{
				TextFormatSource: &corev3.DataSource{
					Specifier: &corev3.DataSource_InlineString{InlineString: format},
				},
			},
		}},
	}
}

// discoveredAccess is the place of the access form. Until the module is there,
// and whenever it is taken away, a native filter without a policy denies.
func discoveredAccess() *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: config.AccessFilter,
		ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: warming(),
			DefaultConfig: pack(&httprbacv3.RBAC{
				Rules: &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_ALLOW},
			}),
			TypeUrls: []string{typeURL(&httpwasmv3.Wasm{}), typeURL(&httprbacv3.RBAC{})},
		}},
	}
}

// discoveredLifetime is the place of the lifetime form. Its default lets bytes
// through: the access form behind it is what denies.
func discoveredLifetime() *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: config.LifetimeFilter,
		ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource:  warming(),
			DefaultConfig: pack(&networkrbacv3.RBAC{StatPrefix: "without_lifetime."}),
			TypeUrls:      []string{typeURL(&networkwasmv3.Wasm{}), typeURL(&networkrbacv3.RBAC{})},
		}},
	}
}

// discoveredConnections is the place of the connections form. It has no default:
// until the module is there, and whenever it is taken away, the sidecar closes
// every connection at once. Measured: the native filter that denies requests
// would let the first word of a server through, as it looks at callers' bytes only.
func discoveredConnections() *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: config.ConnectionsFilter,
		ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: warming(),
			TypeUrls:     []string{typeURL(&networkwasmv3.Wasm{})},
		}},
	}
}

// warming is the control plane as a source that a listener waits for: it
// accepts nothing before its filters are there, or for good deny by default.
func warming() *corev3.ConfigSource {
	source := fromControlPlane()
	source.InitialFetchTimeout = durationpb.New(filterFetchTimeout)
	return source
}

func (b *builder) accessConfig(table []byte) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{
		Name:        config.AccessFilter,
		TypedConfig: pack(&httpwasmv3.Wasm{Config: b.plugin(config.AccessFilter, b.deciding(config.Access, table), b.vm())}),
	}
}

func (b *builder) lifetimeConfig() *corev3.TypedExtensionConfig {
	c := config.Config{Form: config.Lifetime, Destination: b.workload.Metered()}
	return &corev3.TypedExtensionConfig{
		Name:        config.LifetimeFilter,
		TypedConfig: pack(&networkwasmv3.Wasm{Config: b.plugin(config.LifetimeFilter, c, b.vm())}),
	}
}

func (b *builder) connectionsConfig(table []byte) *corev3.TypedExtensionConfig {
	vm := b.vm()
	vm.VmId = config.ConnectionsFilter + "." + b.settings.Module
	vm.CapabilityRestrictionConfig = restrictedTo(dataCapabilities())
	return &corev3.TypedExtensionConfig{
		Name:        config.ConnectionsFilter,
		TypedConfig: pack(&networkwasmv3.Wasm{Config: b.plugin(config.ConnectionsFilter, b.deciding(config.Connections, table), vm)}),
	}
}

// deciding is the configuration of a form that decides.
func (b *builder) deciding(form config.Form, table []byte) config.Config {
	return config.Config{
		Form:        form,
		Destination: b.workload.Metered(),
		Version:     versionOf(table, b.workload.Mode),
		Mode:        b.workload.Mode,
		Tells:       b.settings.AccessLog > 0,
		Table:       table,
	}
}

// plugin makes one plugin of the module.
func (b *builder) plugin(name string, c config.Config, vm *wasmv3.VmConfig) *wasmv3.PluginConfig {
	return &wasmv3.PluginConfig{
		Name:          name,
		RootId:        name,
		Configuration: pack(wrapperspb.Bytes(c.Encode())),
		// A trap costs its stream and about a tenth of a second; nothing passes
		// meanwhile.
		FailurePolicy: wasmv3.FailurePolicy_FAIL_RELOAD,
		ReloadConfig: &wasmv3.ReloadConfig{Backoff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(reloadInterval),
		}},
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: vm},
	}
}

// vm is what the two forms in front of HTTP share: with the same id and code
// they run in one VM in each worker.
func (b *builder) vm() *wasmv3.VmConfig {
	return &wasmv3.VmConfig{
		VmId:                        "wasmesh." + b.settings.Module,
		Runtime:                     "envoy.wasm.runtime.v8",
		CapabilityRestrictionConfig: restrictedTo(Capabilities()),
		Code: &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
			Specifier: &corev3.DataSource_Filename{
				Filename: moduleFile(b.settings.Module),
			},
		}}},
	}
}

func networkFilter(name string, m proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       name,
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(m)},
	}
}

func typeURL(m proto.Message) string { return pack(m).GetTypeUrl() }

// pack wraps a message. It never fails for the generated types used here; a
// build that could would be a defect of this package, not of its input.
func pack(m proto.Message) *anypb.Any {
	out := &anypb.Any{}
	if err := anypb.MarshalFrom(out, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err)
	}
	return out
}
