package xds

import (
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/proto"

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
	b := builder{snapshot: s, workload: w, settings: settings, out: Resources{}}
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
