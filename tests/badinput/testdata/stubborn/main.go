// Command stubborn is a filter module that is well formed and does not start:
// it refuses, panics or loops, as it was built to. It must never be deployed.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// manner is set by the linker.
var manner = "refuse"

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	turns uint64
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	switch manner {
	case "panic":
		panic("stubborn was built to panic")
	case "loop":
		for {
			p.turns++
		}
	}
	proxywasm.LogError("stubborn was built to refuse")
	return types.OnPluginStartStatusFailed
}
