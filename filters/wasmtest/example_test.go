package wasmtest_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// guard is testdata/guard, the filter of the examples, loaded once.
var guard *wasmtest.Module

func startGuard(options wasmtest.Options, config wasmtest.PluginConfig) *wasmtest.Plugin {
	plugin, err := guard.StartPlugin(context.Background(), options, config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return plugin
}

// A filter is built, compiled and started once, and then asked request by
// request.
func Example() {
	ctx := context.Background()
	module, err := wasmtest.Load(ctx, "./testdata/guard")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer module.Close(ctx)
	plugin, err := module.StartPlugin(ctx, wasmtest.Options{}, wasmtest.PluginConfig{Name: "guard", Configuration: []byte("token")})
	if err != nil {
		fmt.Println(err)
		return
	}

	good := plugin.HTTP(wasmtest.StreamInfo{})
	result := good.RequestHeaders(ctx, wasmtest.Request("GET", "/books", "x-token", "sesame"), true)
	fmt.Println(result.Action, len(good.Upstream().Headers), "headers went on")
	good.Done(ctx)

	bad := plugin.HTTP(wasmtest.StreamInfo{})
	result = bad.RequestHeaders(ctx, wasmtest.Request("GET", "/books"), true)
	fmt.Println(result.Action, result.Reply.Status, result.Reply.Headers[1])
	bad.Done(ctx)

	// Output:
	// continue 5 headers went on
	// pause 403 {x-why wrong token}
}

// A response passes the same stream after the request.
func ExampleStream_ResponseHeaders() {
	ctx := context.Background()
	stream := startGuard(wasmtest.Options{}, wasmtest.PluginConfig{Configuration: []byte("token")}).HTTP(wasmtest.StreamInfo{})
	stream.RequestHeaders(ctx, wasmtest.Request("POST", "/", "x-token", "sesame"), false)
	stream.RequestBody(ctx, []byte("question"), true)
	stream.ResponseHeaders(ctx, wasmtest.Response(200), false)
	stream.ResponseBody(ctx, []byte("answer"), true)
	stream.Done(ctx)
	fmt.Printf("%s, %s\n", stream.Upstream().Body, stream.Downstream().Body)
	// Output: question, answer
}

// A network filter sees bytes. What it has not let pass it sees again, with
// what came since.
func ExamplePlugin_TCP() {
	ctx := context.Background()
	plugin := startGuard(wasmtest.Options{}, wasmtest.PluginConfig{Configuration: []byte("tcp")})

	known := plugin.TCP(wasmtest.StreamInfo{})
	known.Open(ctx)
	fmt.Println(known.DownstreamData(ctx, []byte("ses"), false).Action)
	fmt.Println(known.DownstreamData(ctx, []byte("ame, please"), false).Action)
	fmt.Printf("%s\n", known.ToUpstream())

	stranger := plugin.TCP(wasmtest.StreamInfo{})
	stranger.Open(ctx)
	fmt.Println("closed:", stranger.DownstreamData(ctx, []byte("open up"), false).Closed)
	// Output:
	// pause
	// continue
	// sesame, please
	// closed: true
}

// The test plays the services that a filter calls. A call that nobody answers
// times out by the virtual clock.
func ExampleCall_Answer() {
	ctx := context.Background()
	plugin := startGuard(wasmtest.Options{Clusters: []string{"auth"}}, wasmtest.PluginConfig{Configuration: []byte("ask")})
	vm := plugin.VM()

	stream := plugin.HTTP(wasmtest.StreamInfo{})
	fmt.Println(stream.RequestHeaders(ctx, wasmtest.Request("GET", "/", "x-token", "mine"), true).Action)
	call := vm.Calls()[0]
	fmt.Println(call.Cluster, call.Request.Headers[3])
	call.Answer(ctx, wasmtest.Message{Headers: wasmtest.Response(200)})
	fmt.Println(stream.Result().Action)

	slow := plugin.HTTP(wasmtest.StreamInfo{})
	slow.RequestHeaders(ctx, wasmtest.Request("GET", "/"), true)
	_ = vm.Advance(ctx, 500*time.Millisecond)
	fmt.Println(slow.Result().Reply.Status)
	// Output:
	// pause
	// auth {x-token mine}
	// continue
	// 403
}

// Time stands still until the test moves it; ticks run on the way.
func ExampleVM_Advance() {
	ctx := context.Background()
	plugin := startGuard(wasmtest.Options{}, wasmtest.PluginConfig{Configuration: []byte("token")})
	vm := plugin.VM()
	stream := plugin.HTTP(wasmtest.StreamInfo{})
	stream.RequestHeaders(ctx, wasmtest.Request("GET", "/", "x-token", "sesame"), true)

	gauge := func() uint64 {
		m, _ := vm.Proxy().Metric(wasmtest.Gauge, "guard_open")
		return m.Value
	}
	fmt.Println(gauge())
	_ = vm.Advance(ctx, time.Second)
	fmt.Println(gauge())
	stream.Done(ctx)
	_ = vm.Advance(ctx, time.Hour)
	fmt.Println(gauge(), vm.Now().Format(time.TimeOnly))
	// Output:
	// 0
	// 1
	// 0 01:00:01
}

// Metrics have the names that Envoy shows, which begin with "wasmcustom.".
func ExampleProxy_Metrics() {
	ctx := context.Background()
	plugin := startGuard(wasmtest.Options{}, wasmtest.PluginConfig{Configuration: []byte("token")})
	for range 3 {
		plugin.HTTP(wasmtest.StreamInfo{}).RequestHeaders(ctx, wasmtest.Request("GET", "/"), true)
	}
	for _, m := range plugin.VM().Proxy().Metrics() {
		fmt.Println(m.Kind, m.Name, m.Value)
	}
	// Output:
	// gauge wasmcustom.guard_open 0
	// counter wasmcustom.guard_refused 3
}

// A panic loses the VM. Here it comes back, as FAIL_RELOAD does in Envoy.
func ExampleFailurePolicy() {
	ctx := context.Background()
	plugin := startGuard(wasmtest.Options{}, wasmtest.PluginConfig{
		Configuration: []byte("token"), OnFailure: wasmtest.FailReload, ReloadBackoff: 100 * time.Millisecond,
	})
	get := func(token string) wasmtest.Result {
		return plugin.HTTP(wasmtest.StreamInfo{}).RequestHeaders(ctx, wasmtest.Request("GET", "/", "x-token", token), true)
	}
	fmt.Println(get("crash").Reply.Status, plugin.VM().Failure())
	fmt.Println(get("sesame").Reply.Details)
	_ = plugin.VM().Advance(ctx, 100*time.Millisecond)
	fmt.Println(get("sesame").Action)
	// Output:
	// 503 the guest trapped in proxy_on_request_headers: panic: a token that nobody thought of
	// wasm_fail_stream
	// continue
}

// What a module asks of the host is most of what it costs in Envoy: a test can
// hold it to a budget.
func ExampleHostCalls() {
	ctx := context.Background()
	var calls wasmtest.HostCalls
	plugin := startGuard(wasmtest.Options{OnHostCall: calls.Count}, wasmtest.PluginConfig{Configuration: []byte("token")})
	calls.Reset()
	plugin.HTTP(wasmtest.StreamInfo{}).RequestHeaders(ctx, wasmtest.Request("GET", "/", "x-token", "sesame"), true)
	fmt.Println(calls.In("proxy_on_request_headers"))
	// Output: map[proxy_get_header_map_value:1]
}

// A configuration that a filter refuses is explained, which Envoy does not do.
func ExampleModule_StartPlugin() {
	_, err := guard.StartPlugin(context.Background(), wasmtest.Options{},
		wasmtest.PluginConfig{Name: "guard", Configuration: []byte("tokn")})
	fmt.Println(err)
	// Output: plugin "guard": proxy_on_configure: the guest answered false; the guest logged: unknown mode "tokn"
}

// Two VMs with one Proxy are two workers of one Envoy: they share data, queues
// and metrics, and nothing else.
func ExampleProxy() {
	ctx := context.Background()
	process := wasmtest.NewProxy()
	for range 2 {
		plugin := startGuard(wasmtest.Options{Proxy: process}, wasmtest.PluginConfig{Configuration: []byte("token")})
		plugin.HTTP(wasmtest.StreamInfo{}).RequestHeaders(ctx, wasmtest.Request("GET", "/"), true)
	}
	m, _ := process.Metric(wasmtest.Counter, "guard_refused")
	fmt.Println(m.Value)
	// Output: 2
}
