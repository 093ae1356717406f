package wasmtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

func TestTrapAnswers503UntilReload(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "do metric counter 1")
	vm := p.VM()
	live, _ := request(t, p, "")
	wantFailed := func(r wasmtest.Result) {
		t.Helper()
		if r.Reply == nil || r.Reply.Status != 503 || r.Reply.Details != wasmtest.DetailsFailed || r.Action != wasmtest.Pause {
			t.Errorf("got %+v", r)
		}
	}
	poisoned, r := request(t, p, "panic")
	wantFailed(r)
	if got := poisoned.Downstream().Headers; !slices.Equal(got, wasmtest.Pairs(":status", "503")) {
		t.Errorf("client got %v", got)
	}
	if err := vm.Failure(); !errors.Is(err, wasmtest.ErrTrap) || !strings.Contains(err.Error(), "proxy_on_request_headers") {
		t.Errorf("failure %v", err)
	}
	_, r = request(t, p, "")
	wantFailed(r)
	wantFailed(live.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200"), true))
	poisoned.Done(ctx)

	if err := vm.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if _, r = request(t, p, ""); r.Reply != nil {
		t.Errorf("not healed: %+v", r)
	}
	live.Done(ctx)
	if m, _ := vm.Proxy().Metric(wasmtest.Counter, "hits"); m.Value != 2 {
		t.Errorf("metrics did not survive: %+v", m)
	}
}

func TestFailOpenPassesUnfiltered(t *testing.T) {
	config := plugin()
	config.OnFailure = wasmtest.FailOpen
	p, err := probe.StartPlugin(t.Context(), wasmtest.Options{}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.VM().Close(context.Background())
	live, _ := request(t, p, "")
	_, poisoned := request(t, p, "panic")
	for _, r := range []wasmtest.Result{poisoned, live.ResponseHeaders(t.Context(), wasmtest.Pairs(":status", "200"), true)} {
		if r.Reply == nil || r.Reply.Status != 503 {
			t.Errorf("what was open passed: %+v", r)
		}
	}
	if s, r := request(t, p, "reply"); r.Reply != nil || len(s.Upstream().Headers) != 2 {
		t.Errorf("got %+v", r)
	}
}

func TestLoopIsInterrupted(t *testing.T) {
	p := startProbe(t, wasmtest.Options{})
	s := p.HTTP(wasmtest.StreamInfo{})
	r := s.RequestHeaders(within(t, 200*time.Millisecond), wasmtest.Pairs("x-request-do", "loop"), true)
	if r.Reply == nil || r.Reply.Status != 503 || !errors.Is(p.VM().Failure(), context.DeadlineExceeded) {
		t.Errorf("got %+v, failure %v", r, p.VM().Failure())
	}
}

func TestTickThatTraps(t *testing.T) {
	p := startProbe(t, wasmtest.Options{}, "tick 10", "ontick panic")
	if err := p.VM().Advance(t.Context(), time.Second); !errors.Is(err, wasmtest.ErrTrap) {
		t.Errorf("got %v", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s, _ := request(t, p, "")
	vm := p.VM()
	if err := errors.Join(vm.Close(ctx), vm.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	s.Done(ctx)
	if _, err := vm.Plugin(ctx, plugin()); !errors.Is(err, wasmtest.ErrClosed) {
		t.Errorf("plugin: %v", err)
	}
	if err := vm.Reload(ctx); !errors.Is(err, wasmtest.ErrClosed) {
		t.Errorf("reload: %v", err)
	}
}

// A Module and a Proxy serve many goroutines; each VM belongs to one.
func TestModuleAndProxyAreShared(t *testing.T) {
	proxy := wasmtest.NewProxy()
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			config := plugin("do metric counter 1;share k v 0")
			p, err := probe.StartPlugin(t.Context(), wasmtest.Options{Proxy: proxy}, config)
			if err != nil {
				t.Error(err)
				return
			}
			if err = p.VM().Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	if m, _ := proxy.Metric(wasmtest.Counter, "hits"); m.Value != 4 {
		t.Errorf("got %+v", m)
	}
}

// A plugin that fails closed keeps the lost instance beside one that reloads.
func TestReloadHealsAfterItsBackoff(t *testing.T) {
	ctx := t.Context()
	closed := startProbe(t, wasmtest.Options{}, "tcp")
	vm := closed.VM()
	config := plugin()
	config.OnFailure, config.ReloadBackoff = wasmtest.FailReload, 100*time.Millisecond
	p, err := vm.Plugin(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	request(t, p, "panic")
	if _, r := request(t, p, ""); r.Reply == nil || r.Reply.Status != 503 {
		t.Errorf("healed before the back-off: %+v", r)
	}
	_ = vm.Advance(ctx, 100*time.Millisecond)
	s, r := request(t, p, "get x-a", "x-a", "1")
	if r.Reply != nil || s.Upstream().Headers == nil || vm.Failure() != nil {
		t.Errorf("not healed: %+v, %v", r, vm.Failure())
	}
	if c := closed.TCP(wasmtest.StreamInfo{}); !c.Open(ctx).Closed {
		t.Error("a plugin that fails closed was healed by another")
	}
	if err := vm.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	connect(t, closed)
}
