// Command panics is a filter that fails on request: it refuses one path, lets
// everything else through, and panics where a header says so. It guards itself
// as the mesh's own module does. It must never be deployed.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"

	"github.com/wasmesh/wasmesh/filters/config"
	_ "github.com/wasmesh/wasmesh/filters/guest"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

type plugin struct {
	types.DefaultPluginContext
	form config.Form
}

func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	encoded, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		return types.OnPluginStartStatusFailed
	}
	c, _, ok := config.Decode(encoded)
	p.form = c.Form
	return types.OnPluginStartStatus(ok)
}

func (p *plugin) NewHttpContext(uint32) types.HttpContext {
	if p.form != config.Access {
		return nil
	}
	return &stream{}
}

func (p *plugin) NewTcpContext(uint32) types.TcpContext {
	if p.form == config.Access {
		return nil
	}
	return &types.DefaultTcpContext{}
}

type stream struct{ types.DefaultHttpContext }

func (*stream) OnHttpRequestHeaders(int, bool) (action types.Action) {
	defer func() {
		if recover() != nil {
			action = refuse()
		}
	}()
	headers, err := proxywasm.GetHttpRequestHeaders()
	if err != nil {
		return refuse()
	}
	for _, h := range headers {
		if h[0] == "x-panic" {
			var none map[string]int
			none[h[1]]++
		}
		if h[0] == ":path" && h[1] == "/books-bought/all" {
			return refuse()
		}
	}
	return types.ActionContinue
}

func refuse() types.Action {
	if err := proxywasm.SendHttpResponse(403, nil, nil, -1); err != nil {
		proxywasm.LogError(err.Error())
	}
	return types.ActionPause
}
