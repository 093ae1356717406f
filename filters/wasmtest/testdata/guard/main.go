// Command guard is the filter of wasmtest's examples: small, and with something
// of everything. It must never guard anything real: its token is written here.
package main

import (
	"fmt"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vm{}) }

type vm struct{ types.DefaultVMContext }

func (*vm) NewPluginContext(uint32) types.PluginContext { return &guard{} }

// guard is one plugin. Its configuration is one word: "token" lets requests pass
// that carry the token, "ask" those that the cluster "auth" allows, and "tcp"
// connections that begin with the token.
type guard struct {
	types.DefaultPluginContext
	mode    string
	open    int
	refused proxywasm.MetricCounter
	streams proxywasm.MetricGauge
}

const token = "sesame"

func (g *guard) OnPluginStart(int) types.OnPluginStartStatus {
	mode, err := proxywasm.GetPluginConfiguration()
	if g.mode = string(mode); err != nil || (g.mode != "token" && g.mode != "ask" && g.mode != "tcp") {
		proxywasm.LogErrorf("unknown mode %q", mode)
		return false
	}
	g.refused = proxywasm.DefineCounterMetric("guard_refused")
	g.streams = proxywasm.DefineGaugeMetric("guard_open")
	return proxywasm.SetTickPeriodMilliSeconds(1000) == nil
}

// OnTick tells once a second how many streams are open.
func (g *guard) OnTick() { g.streams.Add(int64(g.open) - g.streams.Value()) }

func (g *guard) NewHttpContext(uint32) types.HttpContext {
	if g.mode == "tcp" {
		return nil
	}
	g.open++
	return &request{guard: g}
}

func (g *guard) NewTcpContext(uint32) types.TcpContext {
	if g.mode != "tcp" {
		return nil
	}
	return &connection{guard: g}
}

type request struct {
	types.DefaultHttpContext
	guard *guard
}

func (r *request) OnHttpRequestHeaders(int, bool) types.Action {
	shown, _ := proxywasm.GetHttpRequestHeader("x-token")
	switch {
	case shown == "crash":
		panic("a token that nobody thought of")
	case r.guard.mode == "ask":
		return r.ask(shown)
	case shown != token:
		return r.refuse("wrong token")
	}
	return types.ActionContinue
}

// ask holds the request until the auth service has said something.
func (r *request) ask(shown string) types.Action {
	headers := [][2]string{{":method", "GET"}, {":path", "/check"}, {":authority", "auth"}, {"x-token", shown}}
	_, err := proxywasm.DispatchHttpCall("auth", headers, nil, nil, 500, func(int, int, int) {
		answer, _ := proxywasm.GetHttpCallResponseHeaders()
		for _, h := range answer {
			if h == [2]string{":status", "200"} {
				_ = proxywasm.ResumeHttpRequest()
				return
			}
		}
		r.refuse("auth says no")
	})
	if err != nil {
		return r.refuse("auth cannot be asked")
	}
	return types.ActionPause
}

func (r *request) refuse(why string) types.Action {
	r.guard.refused.Increment(1)
	if err := proxywasm.SendHttpResponse(403, [][2]string{{"x-why", why}}, nil, -1); err != nil {
		proxywasm.LogErrorf("refuse: %v", err)
	}
	return types.ActionPause
}

func (r *request) OnHttpStreamDone() { r.guard.open-- }

type connection struct {
	types.DefaultTcpContext
	guard  *guard
	passed bool
}

func (c *connection) OnDownstreamData(size int, end bool) types.Action {
	data, _ := proxywasm.GetDownstreamData(0, size)
	switch {
	case c.passed || strings.HasPrefix(string(data), token):
		c.passed = true
		return types.ActionContinue
	case len(data) < len(token) && !end:
		return types.ActionPause
	}
	proxywasm.LogWarn(fmt.Sprintf("a connection began with %q", data))
	_ = proxywasm.CloseDownstream()
	return types.ActionPause
}
