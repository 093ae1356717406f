package main

import (
	"fmt"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
)

// call dispatches an HTTP call to a cluster and path, with a timeout in
// milliseconds; what follows is done when the answer is there.
func call(w []string) string {
	var timeout uint32
	fmt.Sscan(w[2], &timeout)
	then := w[3]
	headers := [][2]string{{":method", "POST"}, {":path", w[1]}, {":authority", "called"}, {"x-from", "probe"}}
	id, err := proxywasm.DispatchHttpCall(w[0], headers, []byte("ask"), nil, timeout, func(n, size, trailers int) {
		answered(n > 0, size, trailers)
		do(then)
	})
	return fmt.Sprint(id, " ", err)
}

func answered(headers bool, size, trailers int) {
	var status, kind string
	pairs, _ := proxywasm.GetHttpCallResponseHeaders()
	for _, p := range pairs {
		switch p[0] {
		case ":status":
			status = p[1]
		case "x-kind":
			kind = p[1]
		}
	}
	body, bodyErr := proxywasm.GetHttpCallResponseBody(0, size+1)
	last, _ := proxywasm.GetHttpCallResponseTrailers()
	var code, text, length uint32
	st := getStatus(unsafe.Pointer(&code), unsafe.Pointer(&text), unsafe.Pointer(&length))
	proxywasm.LogInfof("answer headers=%v status=%s kind=%s body=%q %v trailers=%d %v call status=%d %d %d",
		headers, status, kind, body, bodyErr, trailers, last, st, code, length)
}

// queues are the tokens the guest knows by name.
var queues = map[string]uint32{}

func queue(w []string) string {
	token := queues[w[1]]
	switch w[0] {
	case "register":
		token, err := proxywasm.RegisterSharedQueue(w[1])
		queues[w[1]] = token
		return fmt.Sprint(token != 0, " ", err)
	case "resolve":
		token, err := proxywasm.ResolveSharedQueue(w[2], w[1])
		queues[w[1]] = token
		return fmt.Sprint(token != 0, " ", err)
	case "put":
		return fmt.Sprint(proxywasm.EnqueueSharedQueue(token, []byte(w[2])))
	}
	item, err := proxywasm.DequeueSharedQueue(token)
	return fmt.Sprintf("%q %v", item, err)
}

// OnQueueReady takes one item, so that each item must be announced.
func (p *plugin) OnQueueReady(token uint32) {
	item, err := proxywasm.DequeueSharedQueue(token)
	proxywasm.LogInfof("queue ready: %q %v", item, err)
}
