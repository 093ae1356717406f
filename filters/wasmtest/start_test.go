package wasmtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

func TestStartHandsOverBothConfigurations(t *testing.T) {
	p := startProbe(t, wasmtest.Options{Configuration: []byte("v")}, "do time")
	wantLogged(t, p.VM(), `vm start "v"`, `configure "do time" <nil>`)
}

func TestStartExplainsARefusal(t *testing.T) {
	_, err := probe.StartPlugin(t.Context(), wasmtest.Options{}, plugin("refuse the table is empty"))
	var start *wasmtest.StartError
	if !errors.As(err, &start) || !errors.Is(err, wasmtest.ErrRefused) {
		t.Fatalf("got %v", err)
	}
	if start.Callback != "proxy_on_configure" || !strings.Contains(err.Error(), "refused because the table is empty") {
		t.Errorf("got %v", err)
	}
	_, err = probe.StartPlugin(t.Context(), wasmtest.Options{Configuration: []byte("refuse")}, plugin())
	if !errors.As(err, &start) || start.Callback != "proxy_on_vm_start" {
		t.Errorf("got %v", err)
	}
}

func TestStartExplainsAPanic(t *testing.T) {
	_, err := probe.StartPlugin(t.Context(), wasmtest.Options{}, plugin("do panic"))
	if !errors.Is(err, wasmtest.ErrTrap) || !strings.Contains(err.Error(), "panic: probe was told to") {
		t.Errorf("got %v", err)
	}
	var trap *wasmtest.TrapError
	if !errors.As(err, &trap) || trap.Callback != "proxy_on_configure" || !strings.Contains(trap.Stack, "main.act") {
		t.Errorf("got %+v", trap)
	}
}

func TestStartIsInterruptedByItsContext(t *testing.T) {
	began := time.Now()
	_, err := probe.StartPlugin(within(t, 300*time.Millisecond), wasmtest.Options{}, plugin("do loop"))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, wasmtest.ErrTrap) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// While the allocator runs, and before main has run, most hostcalls trap.
func TestRestrictedPhasesTrap(t *testing.T) {
	read := []byte{opI32Const, 0, opCall, 0, opDrop}
	clock := tinyFunc{module: "env", name: "proxy_get_current_time_nanoseconds", params: "i", result: "i"}

	m := proxyModule(tinyFunc{name: "_initialize", body: read})
	m.imports = []tinyFunc{clock}
	wantTrap(t, m, "proxy_get_current_time_nanoseconds is not allowed during initialization")

	m = proxyModule(tinyFunc{name: "proxy_on_configure", params: "ii", result: "i", body: []byte{
		opI32Const, 7, opI32Const, 0, opI32Const, 9, opI32Const, 16, opI32Const, 20, opCall, 1, opDrop, opI32Const, 1,
	}})
	m.imports = []tinyFunc{clock, {module: "env", name: "proxy_get_buffer_bytes", params: "iiiii", result: "i"}}
	m.functions[1].body = append(read, opI32Const, 8)
	wantTrap(t, m, "proxy_get_current_time_nanoseconds is not allowed during memory allocation")
}

func wantTrap(t *testing.T, m tiny, text string) {
	t.Helper()
	module, err := wasmtest.Compile(t.Context(), m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close(context.Background())
	_, err = module.StartPlugin(t.Context(), wasmtest.Options{}, plugin("some configuration"))
	if !errors.Is(err, wasmtest.ErrTrap) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %q", err, text)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	small, err := wasmtest.Compile(t.Context(), probeCode, wasmtest.WithCache(cache), wasmtest.WithMemoryLimit(48<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close(context.Background())
	_, err = small.StartPlugin(t.Context(), wasmtest.Options{}, plugin("do grow"))
	if !errors.Is(err, wasmtest.ErrTrap) || !strings.Contains(err.Error(), "fatal error: out of memory") {
		t.Errorf("got %v", err)
	}
}

func TestMemoryGrowthIsSeen(t *testing.T) {
	p := startProbe(t, wasmtest.Options{})
	before := p.VM().MemoryBytes()
	request(t, p, "reserve 20")
	if after := p.VM().MemoryBytes(); before == 0 || after-before < 20<<20 {
		t.Errorf("from %d to %d bytes", before, after)
	}
}

func TestPluginsOfOneVM(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tick 1000", "wait")
	vm := p.VM()
	if again, err := vm.Plugin(ctx, plugin("tick 1000", "wait")); err != nil || again != p {
		t.Errorf("an identical plugin is not shared: %v", err)
	}
	p.Close(ctx)
	other, err := vm.Plugin(ctx, wasmtest.PluginConfig{Name: "other"})
	if err != nil || other.ID() == p.ID() {
		t.Fatalf("second plugin: %v", err)
	}
	other.Close(ctx)
	wantLogged(t, vm, "plugin 2 done")
	if !other.Ended() || p.Ended() {
		t.Error("closing one plugin ended the other, or not itself")
	}
}

// A push that changes only the configuration: the old root context lives until
// its last stream is done, and then as long as it asked to.
func TestUpdateKeepsOldStreams(t *testing.T) {
	ctx := t.Context()
	old := startProbe(t, wasmtest.Options{}, "tick 1000", "ontick done", "wait")
	vm := old.VM()
	s, _ := request(t, old, "")
	fresh, err := old.Update(ctx, []byte("v2"))
	if err != nil {
		t.Fatal(err)
	}
	if logged(vm, "plugin 1 done") {
		t.Error("the old plugin ended under a live stream")
	}
	s.Done(ctx)
	wantLogged(t, vm, "plugin 1 done", `stream done, path "/p" <nil>`)
	if old.Ended() {
		t.Error("proxy_on_done answered false, yet the plugin was deleted")
	}
	if err = vm.Advance(ctx, time.Second); err != nil || !old.Ended() {
		t.Errorf("proxy_done did not end the plugin: %v", err)
	}
	if _, err = fresh.Update(ctx, []byte("refuse v3")); !errors.Is(err, wasmtest.ErrRefused) || fresh.Ended() {
		t.Errorf("a refused configuration did not leave the old plugin: %v", err)
	}
	if _, r := request(t, fresh, "reply"); r.Reply == nil || r.Reply.Status != 403 {
		t.Errorf("the plugin no longer serves: %+v", r)
	}
}
