package wasmhost

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// offline is the same doors in filters/wasmtest.
type offline struct {
	module  *wasmtest.Module
	proxy   *wasmtest.Proxy
	vms     map[string]*wasmtest.VM
	plugins map[string]*wasmtest.Plugin
	// started is what each door's guest logged at its start.
	started map[string][]string
}

var policies = map[string]wasmtest.FailurePolicy{
	"": wasmtest.FailClosed, "FAIL_CLOSED": wasmtest.FailClosed,
	"FAIL_OPEN": wasmtest.FailOpen, "FAIL_RELOAD": wasmtest.FailReload,
}

func startOffline(ctx context.Context, code []byte, doors []door) (*offline, error) {
	module, err := wasmtest.Compile(ctx, code)
	if err != nil {
		return nil, err
	}
	o := &offline{module, wasmtest.NewProxy(), map[string]*wasmtest.VM{}, map[string]*wasmtest.Plugin{}, map[string][]string{}}
	for _, d := range doors {
		vm := o.vms[d.vm]
		if vm == nil {
			vm, err = module.Start(ctx, wasmtest.Options{
				VMID: d.vm, Configuration: []byte(vmSetting), Environment: wasmtest.Pairs("K", "V"),
				Proxy: o.proxy, Clusters: []string{"app", "auth", "dead", "bytes"}, OnHostCall: observe(d.vm),
			})
			if err != nil {
				return nil, err
			}
			o.vms[d.vm] = vm
		}
		o.plugins[d.name], err = vm.Plugin(ctx, wasmtest.PluginConfig{
			Name: d.name, RootID: d.root(), Configuration: []byte(d.config),
			OnFailure: policies[d.policy], ReloadBackoff: time.Duration(d.backoff) * time.Millisecond,
		})
		if err != nil {
			return nil, err
		}
		o.started[d.name] = o.said(d, 0)
	}
	return o, nil
}

// said returns what a door's guest logged from the nth line of its VM on.
func (o *offline) said(d door, since int) []string {
	var lines []string
	for _, l := range o.vms[d.vm].Logs()[since:] {
		if l.Plugin == d.name {
			lines = append(lines, l.Level.String()+" "+l.Message)
		}
	}
	return lines
}

// visit runs one request as Envoy's HTTP/1 codec would hand it over.
func (o *offline) visit(ctx context.Context, d door, v visit) transcript {
	p, vm := o.plugins[d.name], o.vms[d.vm]
	since := len(vm.Logs())
	s := p.HTTP(wasmtest.StreamInfo{Properties: wasmtest.Properties{}})
	headers := wasmtest.Pairs(":authority", "a", ":path", "/p", ":method", v.method(), ":scheme", "http")
	headers = append(append(headers, v.sent()...), wasmtest.Pair{Name: "x-forwarded-proto", Value: "http"})
	s.RequestHeaders(ctx, headers, !v.chunked())
	for _, c := range v.body {
		s.RequestBody(ctx, []byte(c), false)
	}
	switch {
	case v.trailers != nil:
		s.RequestTrailers(ctx, v.trailers)
	case v.chunked():
		s.RequestBody(ctx, nil, true)
	}
	if s.Result().Reply != nil {
		s.Done(ctx)
	}
	called := o.wait(ctx, vm, v)
	if r := s.Result(); r.Reply == nil && !r.Reset && s.Upstream().Headers != nil {
		respond(ctx, s, v.answer)
		o.wait(ctx, vm, v)
	}
	s.Done(ctx)
	_ = vm.Advance(ctx, 0)
	var t transcript
	t.add("upstream", fromHost(s.Upstream()).lines())
	for _, m := range called {
		t.add("called", calledLines(m))
	}
	t.add("client", clientLines(s))
	t.add("log", o.said(d, since))
	return t
}

// wait answers calls as the upstreams of the real Envoy do, and lets time pass.
func (o *offline) wait(ctx context.Context, vm *wasmtest.VM, v visit) (called []message) {
	for range 10 {
		calls := vm.Calls()
		for _, c := range calls {
			m := fromHost(c.Request)
			a, known := authAnswers[pathOf(m.first)]
			switch {
			case c.Cluster == "dead":
				c.Answer(ctx, unreachable("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"))
				continue
			case known:
				c.Answer(ctx, wasmtest.Message{Headers: append(wasmtest.Pairs(":status", "200"), a.head()...), Body: []byte(fmt.Sprint(join(a.body))), Trailers: a.trailers})
			case pathOf(m.first) == "/cut":
				c.Answer(ctx, unreachable("upstream connect error or disconnect/reset before headers. reset reason: connection termination"))
			default:
				_ = vm.Advance(ctx, c.Timeout)
			}
			called = append(called, m)
		}
		if len(calls) == 0 {
			break
		}
	}
	_ = vm.Advance(ctx, v.pass)
	return called
}

// unreachable is what Envoy says in the place of an upstream.
func unreachable(why string) wasmtest.Message {
	return wasmtest.Message{Headers: wasmtest.Pairs(":status", "503", "content-type", "text/plain"), Body: []byte(why)}
}

func join(parts []string) (all string) {
	for _, p := range parts {
		all += p
	}
	return all
}

func respond(ctx context.Context, s *wasmtest.Stream, a answer) {
	s.ResponseHeaders(ctx, append(wasmtest.Pairs(":status", "200"), a.head()...), a.body == nil)
	if a.body == nil {
		return
	}
	for _, c := range a.body {
		s.ResponseBody(ctx, []byte(c), false)
	}
	if a.trailers != nil {
		s.ResponseTrailers(ctx, a.trailers)
		return
	}
	s.ResponseBody(ctx, nil, true)
}

// clientLines is what the client got: an answer, or the end of its connection.
func clientLines(s *wasmtest.Stream) []string {
	r := s.Result()
	switch {
	case r.Reply != nil && s.Downstream().Headers == nil:
		return fromHost(wasmtest.Message{Headers: r.Reply.Headers, Body: r.Reply.Body}).lines()
	case r.Reset:
		return []string{"closed"}
	}
	return slices.Clone(fromHost(s.Downstream()).lines())
}
