package wasmtest

import (
	"context"
	"slices"
	"strconv"
	"time"
)

// Call is an HTTP call that a guest has dispatched. It stays open until the
// test answers it, or until the virtual clock has passed its timeout.
type Call struct {
	// ID is the number the guest got for the call.
	ID uint32
	// Cluster is the upstream cluster that the guest named.
	Cluster string
	// Request is what the guest sends, with the content-length that Envoy adds
	// to a body, and without what Envoy's router adds on the way.
	Request Message
	// Timeout is the longest wait that the guest asked for; zero is no limit.
	Timeout time.Duration

	plugin *Plugin
	in     *instance
	due    time.Time
	over   bool
}

// answered is the outcome of a call while the guest hears of it.
type answered struct {
	headers, trailers *headerMap
	body              []byte
}

// openMap returns the answer's headers or trailers; without an answer, or
// without trailers in it, there are none.
func (a *answered) openMap(kind uint32) *headerMap {
	switch {
	case a == nil:
		return nil
	case kind == mapCallHeaders:
		return a.headers
	case len(a.trailers.pairs) == 0:
		return nil
	}
	return a.trailers
}

// The status of the last call, which a guest may ask for.
type callStatus struct {
	code    uint32
	message string
}

// callIDStep leaves the two lowest bits of a call's id for its kind.
const callIDStep = 4

// brokenConnection is how Envoy numbers the status of a call that was reset.
const brokenConnection = 11

// Calls returns the calls that wait for an answer, oldest first.
func (vm *VM) Calls() []*Call {
	return slices.DeleteFunc(slices.Clone(vm.calls), func(c *Call) bool { return c.over })
}

// Answer delivers the upstream's answer: proxy_on_http_call_response. An answer
// has a :status. A call that is over, or whose VM has failed, is not answered
// again.
//
// A cluster without a healthy host answers 503 in Envoy, and an upstream that
// is too slow 504: both reach the guest as answers, not as failures.
func (c *Call) Answer(ctx context.Context, answer Message) {
	c.deliver(ctx, &answered{
		headers: newHeaderMap(answer.Headers), trailers: newHeaderMap(answer.Trailers), body: answer.Body,
	})
}

// Reset ends the call without an answer: the guest hears of no headers at all,
// and proxy_get_status says that the connection broke.
func (c *Call) Reset(ctx context.Context) { c.deliver(ctx, nil) }

func (c *Call) deliver(ctx context.Context, a *answered) {
	if c.over {
		return
	}
	c.over = true
	vm, root := c.plugin.vm, c.plugin.root
	vm.calls = slices.DeleteFunc(vm.calls, func(other *Call) bool { return other == c })
	if c.plugin.ended || root.in != c.in {
		return
	}
	arguments := []uint64{uint64(root.id), uint64(c.ID), 0, 0, 0}
	if a == nil {
		root.lastCall = callStatus{brokenConnection, "reset"}
	} else {
		root.answer = a
		arguments[2], arguments[3] = uint64(len(a.headers.pairs)), uint64(len(a.body))
		arguments[4] = uint64(len(a.trailers.pairs))
	}
	c.in.callback(ctx, root, "proxy_on_http_call_response", arguments...)
	root.answer, root.lastCall.message = nil, ""
	c.in.settle()
}

// timeOut answers as Envoy does for an upstream that is too slow.
func (c *Call) timeOut(ctx context.Context) {
	const text = "upstream request timeout"
	c.Answer(ctx, Message{
		Headers: Pairs(":status", "504", "content-length", strconv.Itoa(len(text)), "content-type", "text/plain"),
		Body:    []byte(text),
	})
}

// root returns the root context of the plugin that a scope belongs to.
func (sc *scope) root() *scope {
	if sc.plugin == nil {
		return sc
	}
	return sc.plugin.root
}

func serveHTTPCall(v invocation, a []uint64) status {
	cluster, clusterOK := v.text(a[0], a[1])
	headers, headersOK := v.pairs(a[2], a[3])
	body, bodyOK := v.copied(a[4], a[5])
	trailers, trailersOK := v.pairs(a[6], a[7])
	if !clusterOK || !headersOK || !bodyOK || !trailersOK || !v.put32(a[9], 0) {
		return statusInvalidMemoryAccess
	}
	plugin, vm := v.scope.plugin, v.in.vm
	timeout, request := int32(uint32(a[8])), newHeaderMap(headers)
	if plugin == nil || timeout < 0 || !slices.Contains(vm.options.Clusters, cluster) {
		return statusBadArgument
	}
	for _, name := range []string{":path", ":method", ":authority"} {
		if _, ok := request.get(name); !ok {
			return statusBadArgument
		}
	}
	if len(body) > 0 {
		request.replace("content-length", strconv.Itoa(len(body)))
	}
	v.in.lastCall += callIDStep
	call := &Call{
		ID: v.in.lastCall, Cluster: cluster, plugin: plugin, in: v.in,
		Request: Message{Headers: request.pairs, Body: body, Trailers: trailers},
		Timeout: time.Duration(timeout) * time.Millisecond,
	}
	call.due = vm.now.Add(call.Timeout)
	vm.calls = append(vm.calls, call)
	return wrote(v.put32(a[9], call.ID))
}

// serveStatus answers for the last HTTP call of the plugin.
func serveStatus(v invocation, a []uint64) status {
	last := v.scope.root().lastCall
	if !v.put32(a[0], last.code) {
		return statusInvalidMemoryAccess
	}
	return v.give([]byte(last.message), a[1], a[2])
}
