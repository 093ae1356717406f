package xds

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// ModuleSuffix ends the name of a module's file; the digest is before it.
const ModuleSuffix = ".wasm"

func moduleFile(digest string) string { return ModuleDirectory + digest + ModuleSuffix }

// References returns the digests of the modules that the configuration of a
// proxy names, sorted: what its sidecar has to have, and may get. It is
// Modules(Build(...)), without building what names none.
func References(s *mesh.Snapshot, proxy mesh.Name, settings Settings) []string {
	w, ok := s.Workload(proxy)
	if !ok {
		return nil
	}
	// What a policy says does not change which module judges by it.
	m := &Mesh{
		snapshot: s, settings: settings,
		tables: map[mesh.Name][]byte{w.ServiceAccount: nil}, kept: map[resourceKey]proto.Message{},
	}
	b := builder{mesh: m, snapshot: s, workload: w, settings: settings, out: Resources{}}
	b.filters()
	return Modules(b.out)
}

// Modules returns the digests of the modules that resources name, sorted.
func Modules(r Resources) []string {
	found := map[string]bool{}
	for _, m := range r[FilterType] {
		path := pluginOf(m).GetVmConfig().GetCode().GetLocal().GetFilename()
		file, here := strings.CutPrefix(path, ModuleDirectory)
		if digest, ok := strings.CutSuffix(file, ModuleSuffix); here && ok {
			found[digest] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// pluginOf returns the plugin that a filter is, or nil for one that is native.
func pluginOf(filter proto.Message) *wasmv3.PluginConfig {
	typed, ok := filter.(*corev3.TypedExtensionConfig)
	if !ok {
		return nil
	}
	var http httpwasmv3.Wasm
	if typed.GetTypedConfig().UnmarshalTo(&http) == nil {
		return http.GetConfig()
	}
	var network networkwasmv3.Wasm
	if typed.GetTypedConfig().UnmarshalTo(&network) == nil {
		return network.GetConfig()
	}
	return nil
}

// Offers is how many numbers Offered tells apart.
const Offers = 500_000

// Offered returns a filter that does the same and has another content: Envoy
// acknowledges what it once refused without looking at it again. The number goes
// into nanoseconds of a pause of which Envoy knows milliseconds; it must be below
// twice Offers. What is no plugin stays as it is.
func Offered(filter proto.Message, number int) proto.Message {
	plugin := pluginOf(filter)
	if plugin == nil || number == 0 {
		return filter
	}
	offered := proto.CloneOf(filter.(*corev3.TypedExtensionConfig))
	plugin.ReloadConfig = &wasmv3.ReloadConfig{Backoff: &corev3.BackoffStrategy{
		BaseInterval: durationpb.New(reloadInterval + time.Duration(number%(2*Offers))),
	}}
	if offered.TypedConfig.MessageIs(&httpwasmv3.Wasm{}) {
		offered.TypedConfig = pack(&httpwasmv3.Wasm{Config: plugin})
	} else {
		offered.TypedConfig = pack(&networkwasmv3.Wasm{Config: plugin})
	}
	return offered
}
