// Command picky is a filter that only a real Envoy refuses: with the configuration
// "refuse" it does not start under the name that it has in one, which an inspection
// does not give it.
// It is for tests only, and must never look at a request.
package main

import (
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct{ types.DefaultPluginContext }

func (*plugin) OnPluginStart(int) types.OnPluginStartStatus {
	text, _ := proxywasm.GetPluginConfiguration() // none is fine
	name, err := proxywasm.GetProperty([]string{"plugin_name"})
	if string(text) == "refuse" && err == nil && strings.HasSuffix(string(name), "/picky") {
		proxywasm.LogError("picky does not start as " + string(name))
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

func (*plugin) NewHttpContext(uint32) types.HttpContext { return &types.DefaultHttpContext{} }
