package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

//go:wasmimport env proxy_close_stream
func closeStream(kind uint32) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func currentTime(at unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_size
func mapSize(kind uint32, at unsafe.Pointer) uint32

//go:wasmimport env proxy_get_buffer_status
func bufferStatus(kind uint32, size, flags unsafe.Pointer) uint32

//go:wasmimport env proxy_grpc_close
func grpcClose(token uint32) uint32

//go:wasmimport env proxy_get_status
func getStatus(code, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_send_local_response
func sendLocal(status uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32,
	headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

// grown keeps what the grow command allocates.
var grown [][]byte

// do carries out commands that semicolons separate and logs each outcome.
func do(commands string) types.Action {
	action := types.ActionContinue
	for _, command := range strings.Split(commands, ";") {
		words := strings.Fields(command)
		if len(words) == 0 {
			continue
		}
		if words[0] == "pause" {
			action = types.ActionPause
			continue
		}
		outcome := act(words[0], append(words[1:], "", "", "", ""))
		proxywasm.LogInfof("%s: %s", strings.Join(words, " "), outcome)
	}
	return action
}

func act(verb string, w []string) string {
	switch verb {
	case "pairs":
		pairs, err := proxywasm.GetHttpRequestHeaders()
		return fmt.Sprint(pairs, err)
	case "get":
		value, err := proxywasm.GetHttpRequestHeader(w[0])
		return fmt.Sprint(value, " ", err)
	case "add":
		return fmt.Sprint(proxywasm.AddHttpRequestHeader(w[0], w[1]))
	case "replace":
		return fmt.Sprint(proxywasm.ReplaceHttpRequestHeader(w[0], w[1]))
	case "remove":
		return fmt.Sprint(proxywasm.RemoveHttpRequestHeader(w[0]))
	case "set":
		return fmt.Sprint(proxywasm.ReplaceHttpRequestHeaders([][2]string{{":path", "/set"}, {w[0], w[1]}}))
	case "setall":
		return fmt.Sprint(proxywasm.ReplaceHttpRequestHeaders([][2]string{
			{":authority", "b"}, {"x-second", "2"}, {":path", "/set"}, {":method", "PUT"}, {":scheme", "http"}, {w[0], w[1]},
			{"x-forwarded-proto", "http"},
		}))
	case "setmany":
		return fmt.Sprint(proxywasm.ReplaceHttpRequestHeaders(make([][2]string, 1025)))
	case "responseheader":
		return fmt.Sprint(proxywasm.AddHttpResponseHeader(w[0], w[1]))
	case "property":
		value, err := proxywasm.GetProperty(strings.Split(w[0], "/"))
		return fmt.Sprintf("%q %v", value, err)
	case "setproperty":
		return fmt.Sprint(proxywasm.SetProperty(strings.Split(w[0], "/"), []byte(w[1])))
	case "share", "shared", "metric":
		return state(verb, w)
	case "reply", "details", "resume", "resumeresponse", "close", "closedownstream", "closeupstream", "done", "effective":
		return steer(verb, w)
	}
	return system(verb, w)
}

func state(verb string, w []string) string {
	var n uint64
	fmt.Sscan(w[1], &n)
	switch verb {
	case "share":
		var cas uint32
		fmt.Sscan(w[2], &cas)
		return fmt.Sprint(proxywasm.SetSharedData(w[0], []byte(w[1]), cas))
	case "shared":
		value, cas, err := proxywasm.GetSharedData(w[0])
		return fmt.Sprint(string(value), " ", cas, " ", err)
	}
	switch w[0] {
	case "counter":
		proxywasm.DefineCounterMetric("hits").Increment(n)
		again := proxywasm.DefineCounterMetric("hits")
		return fmt.Sprint(again.Value(), " ids differ: ", again != proxywasm.DefineCounterMetric("hits"))
	case "gauge":
		g := proxywasm.DefineGaugeMetric("level")
		g.Add(int64(n))
		g.Add(-1)
		return fmt.Sprint(g.Value())
	}
	proxywasm.DefineHistogramMetric("time.").Record(n)
	return "recorded"
}

func steer(verb string, w []string) string {
	switch verb {
	case "reply":
		return fmt.Sprint(proxywasm.SendHttpResponse(403, [][2]string{{"x-why", "probe"}}, []byte("no"), -1))
	case "details":
		details := "why not\nso"
		return fmt.Sprint(sendLocal(418, unsafe.Pointer(unsafe.StringData(details)), uint32(len(details)), nil, 0, nil, 0, 7))
	case "resume":
		return fmt.Sprint(proxywasm.ResumeHttpRequest())
	case "resumeresponse":
		return fmt.Sprint(proxywasm.ResumeHttpResponse())
	case "close":
		return fmt.Sprint(closeStream(0))
	case "closedownstream":
		return fmt.Sprint(proxywasm.CloseDownstream())
	case "closeupstream":
		return fmt.Sprint(proxywasm.CloseUpstream())
	case "effective":
		var id uint32
		fmt.Sscan(w[0], &id)
		return fmt.Sprint(proxywasm.SetEffectiveContext(id))
	}
	proxywasm.PluginDone()
	return "done"
}

func system(verb string, w []string) string {
	switch verb {
	case "time":
		var now, size, flags, headers uint64
		status := currentTime(unsafe.Pointer(&now)) + mapSize(0, unsafe.Pointer(&headers)) +
			bufferStatus(6, unsafe.Pointer(&size), unsafe.Pointer(&flags)) +
			getStatus(unsafe.Pointer(&flags), unsafe.Pointer(&flags), unsafe.Pointer(&flags))
		return fmt.Sprint(now, " ", time.Now().UnixNano(), " ", headers, " ", size, " ", status)
	case "stdio":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		_, err := os.ReadFile("/etc/hostname")
		return fmt.Sprint(len(os.Args), " ", os.Environ(), " ", err)
	case "sleep":
		var milliseconds int
		fmt.Sscan(w[0], &milliseconds)
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
		return "slept"
	case "call":
		return call(w)
	case "callnothing":
		_, err := proxywasm.DispatchHttpCall(w[0], nil, nil, nil, 100, func(int, int, int) {})
		return fmt.Sprint(err)
	case "queue":
		return queue(w)
	case "grpc":
		return fmt.Sprint(grpcClose(1))
	case "reserve":
		var megabytes int
		fmt.Sscan(w[0], &megabytes)
		grown = append(grown, make([]byte, megabytes<<20))
		return fmt.Sprint(len(grown[len(grown)-1]) == megabytes<<20)
	case "foreign":
		_, err := proxywasm.CallForeignFunction(w[0], nil)
		return fmt.Sprint(err)
	case "panic":
		panic("probe was told to")
	case "exit":
		os.Exit(3)
	case "loop":
		for { //nolint:revive // spinning is the point
		}
	case "grow":
		for {
			grown = append(grown, make([]byte, 4<<20))
		}
	}
	return "unknown"
}
