// Command probe is the guest of wasmtest's own tests: it does what headers and
// its plugin configuration tell it and logs what came of it. It must never be
// deployed.
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

func (*vm) OnVMStart(size int) types.OnVMStartStatus {
	config, _ := proxywasm.GetVMConfiguration()
	proxywasm.LogDebugf("vm start %q", config)
	return string(config) != "refuse"
}

func (*vm) NewPluginContext(id uint32) types.PluginContext {
	return &plugin{id: id, live: map[uint32]bool{}}
}

// plugin reads lines of "key value" from its configuration.
type plugin struct {
	types.DefaultPluginContext
	id      uint32
	kind    string
	onTick  string
	waiting bool
	live    map[uint32]bool
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	config, err := proxywasm.GetPluginConfiguration()
	proxywasm.LogInfof("configure %q %v", config, err)
	for _, line := range strings.Split(string(config), "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tcp":
			p.kind = "tcp"
		case "wait":
			p.waiting = true
		case "tick":
			var period uint32
			fmt.Sscan(value, &period)
			must(proxywasm.SetTickPeriodMilliSeconds(period))
		case "ontick":
			p.onTick = value
		case "do":
			do(value)
		case "refuse":
			proxywasm.LogErrorf("refused because %s", value)
			return false
		}
	}
	return true
}

func (p *plugin) OnTick() {
	command, each := strings.CutPrefix(p.onTick, "each ")
	if !each {
		do(p.onTick)
		return
	}
	for id := range p.live {
		must(proxywasm.SetEffectiveContext(id))
		do(command)
	}
}

func (p *plugin) OnPluginDone() bool {
	proxywasm.LogInfof("plugin %d done", p.id)
	return !p.waiting
}

func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	if p.kind == "tcp" {
		return nil
	}
	p.live[id] = true
	return &stream{id: id, plugin: p}
}

func (p *plugin) NewTcpContext(id uint32) types.TcpContext {
	if p.kind != "tcp" {
		return nil
	}
	p.live[id] = true
	return &connection{id: id, plugin: p}
}

type stream struct {
	types.DefaultHttpContext
	id     uint32
	plugin *plugin
}

// follow does what a header says, or nothing.
func follow(value string, err error) types.Action {
	if err != nil {
		return types.ActionContinue
	}
	return do(value)
}

func (s *stream) OnHttpRequestHeaders(n int, end bool) types.Action {
	return follow(proxywasm.GetHttpRequestHeader("x-request-do"))
}

func (s *stream) OnHttpRequestBody(size int, end bool) types.Action {
	body, _ := proxywasm.GetHttpRequestBody(0, size)
	proxywasm.LogInfof("request body %q end=%v", body, end)
	switch {
	case strings.Contains(string(body), "rewrite") && end:
		must(proxywasm.ReplaceHttpRequestBody([]byte("rewritten")))
		must(proxywasm.PrependHttpRequestBody([]byte("<")))
		must(proxywasm.AppendHttpRequestBody([]byte(">")))
	case strings.Contains(string(body), "rewrite"):
		return types.ActionPause
	}
	return types.ActionContinue
}

func (s *stream) OnHttpRequestTrailers(n int) types.Action {
	trailers, _ := proxywasm.GetHttpRequestTrailers()
	proxywasm.LogInfof("request trailers %v", trailers)
	return types.ActionContinue
}

func (s *stream) OnHttpResponseHeaders(n int, end bool) types.Action {
	_, err := proxywasm.GetHttpRequestHeader(":path")
	status, _ := proxywasm.GetHttpResponseHeader(":status")
	proxywasm.LogInfof("response headers %s, request path: %v", status, err)
	must(proxywasm.AddHttpResponseHeader("x-seen", "yes"))
	return follow(proxywasm.GetHttpResponseHeader("x-response-do"))
}

func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	body, _ := proxywasm.GetHttpResponseBody(0, size)
	switch {
	case strings.Contains(string(body), "late-reply"):
		return do("reply")
	case end:
		must(proxywasm.AddHttpResponseTrailer("x-last", string(body)))
	}
	return types.ActionContinue
}

func (s *stream) OnHttpResponseTrailers(n int) types.Action {
	must(proxywasm.AddHttpResponseTrailer("x-count", fmt.Sprint(n)))
	return types.ActionContinue
}

func (s *stream) OnHttpStreamDone() {
	path, err := proxywasm.GetHttpRequestHeader(":path")
	proxywasm.LogInfof("stream done, path %q %v", path, err)
	delete(s.plugin.live, s.id)
}

type connection struct {
	types.DefaultTcpContext
	id     uint32
	plugin *plugin
}

func (c *connection) OnNewConnection() types.Action {
	proxywasm.LogInfo("new connection")
	return types.ActionContinue
}

func (c *connection) OnDownstreamData(size int, end bool) types.Action {
	data, _ := proxywasm.GetDownstreamData(0, size)
	proxywasm.LogInfof("downstream data %q end=%v", data, end)
	command, ok := strings.CutPrefix(string(data), "do ")
	if !ok {
		return types.ActionContinue
	}
	return do(command)
}

func (c *connection) OnUpstreamData(size int, end bool) types.Action {
	data, _ := proxywasm.GetUpstreamData(0, size)
	proxywasm.LogInfof("upstream data %q end=%v", data, end)
	must(proxywasm.ReplaceUpstreamData([]byte(strings.ToUpper(string(data)))))
	return types.ActionContinue
}

func (c *connection) OnDownstreamClose(peer types.PeerType) {
	proxywasm.LogInfof("downstream close %d", peer)
}

func (c *connection) OnUpstreamClose(peer types.PeerType) {
	proxywasm.LogInfof("upstream close %d", peer)
}

func (c *connection) OnStreamDone() {
	proxywasm.LogInfo("connection done")
	delete(c.plugin.live, c.id)
}

func must(err error) {
	if err != nil {
		proxywasm.LogErrorf("probe: %v", err)
	}
}
