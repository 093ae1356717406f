package wasmtest_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

var authCluster = wasmtest.Options{Clusters: []string{"auth"}}

// calling is a stream that waits for the answer to its call.
func calling(t *testing.T, p *wasmtest.Plugin) (*wasmtest.Stream, *wasmtest.Call) {
	t.Helper()
	s, r := request(t, p, "call auth /check 500 resume;pause")
	calls := p.VM().Calls()
	if r.Action != wasmtest.Pause || len(calls) == 0 {
		t.Fatalf("got %+v, %d calls:\n%s", r, len(calls), transcript(p.VM()))
	}
	return s, calls[len(calls)-1]
}

func TestCallIsAnswered(t *testing.T) {
	p := startProbe(t, authCluster)
	s, call := calling(t, p)
	want := wasmtest.Pairs(":method", "POST", ":path", "/check", ":authority", "called", "x-from", "probe", "content-length", "3")
	if call.Cluster != "auth" || call.Timeout != 500*time.Millisecond || !reflect.DeepEqual(call.Request.Headers, want) || string(call.Request.Body) != "ask" {
		t.Errorf("got %+v", call)
	}
	answer := wasmtest.Message{Headers: wasmtest.Pairs(":status", "200", "x-kind", "k"), Body: []byte("yes"), Trailers: wasmtest.Pairs("t", "1")}
	call.Answer(t.Context(), answer)
	call.Answer(t.Context(), answer)
	wantLogged(t, p.VM(), `answer headers=true status=200 kind=k body="yes" <nil> trailers=1 [[t 1]] call status=0 0 0`)
	if s.Upstream().Headers == nil || len(p.VM().Calls()) != 0 {
		t.Errorf("upstream got %v, %d calls are open", s.Upstream().Headers, len(p.VM().Calls()))
	}
}

// A reset is the only outcome without headers, and the only one with a status.
func TestCallIsReset(t *testing.T) {
	p := startProbe(t, authCluster)
	s, call := calling(t, p)
	call.Reset(t.Context())
	wantLogged(t, p.VM(), `answer headers=false status= kind= body="" error status returned by host: not found trailers=0 [] call status=0 11 5`)
	if s.Upstream().Headers == nil {
		t.Error("the stream was not resumed")
	}
}

func TestCallTimesOutByTheVirtualClock(t *testing.T) {
	p := startProbe(t, authCluster)
	s, _ := calling(t, p)
	if err := p.VM().Advance(t.Context(), 499*time.Millisecond); err != nil || s.Upstream().Headers != nil {
		t.Fatalf("too early: %v", err)
	}
	if err := p.VM().Advance(t.Context(), time.Millisecond); err != nil || s.Upstream().Headers == nil {
		t.Errorf("the stream was not resumed: %v", err)
	}
	wantLogged(t, p.VM(), `answer headers=true status=504 kind= body="upstream request timeout" <nil> trailers=0 [] call status=0 0 0`)
}

func TestCallsThatCannotBeMade(t *testing.T) {
	p := startProbe(t, authCluster, "do call auht / 100;callnothing auth")
	const bad = "error status returned by host: bad argument"
	wantLogged(t, p.VM(), "call auht / 100: 0 "+bad, "callnothing auth: "+bad)
}

// The guest must not hear of a call for a stream or a plugin that is gone.
func TestAnswerThatComesTooLate(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, authCluster)
	s, call := calling(t, p)
	s.Done(ctx)
	call.Answer(ctx, wasmtest.Message{Headers: wasmtest.Pairs(":status", "200")})
	_, call = calling(t, p)
	request(t, p, "panic")
	call.Answer(ctx, wasmtest.Message{Headers: wasmtest.Pairs(":status", "200")})
	for _, l := range p.VM().Logs() {
		if l.Message[:min(6, len(l.Message))] == "answer" {
			t.Errorf("the guest heard %q", l.Message)
		}
	}
}

func TestQueuesBetweenWorkers(t *testing.T) {
	ctx, proxy := t.Context(), wasmtest.NewProxy()
	owner := startProbe(t, wasmtest.Options{Proxy: proxy, VMID: "owner"}, "do queue register q;queue take q")
	other := startProbe(t, wasmtest.Options{Proxy: proxy, VMID: "other"},
		"do queue resolve q;queue resolve q owner;queue put q one;queue put q two")
	wantLogged(t, owner.VM(), "queue register q: true <nil>", `queue take q: "" error status returned by host: empty`)
	wantLogged(t, other.VM(), "queue resolve q: false error status returned by host: not found", "queue resolve q owner: true <nil>",
		"queue put q one: <nil>")
	if items, ok := proxy.Queue("owner", "q"); !ok || fmt.Sprintf("%s", items) != "[one two]" {
		t.Errorf("the queue has %s, %v", items, ok)
	}
	if _, ok := proxy.Queue("other", "q"); ok {
		t.Error("a queue belongs to its vm_id")
	}
	if logged(owner.VM(), `queue ready: "one" <nil>`) {
		t.Error("the guest was called while another ran")
	}
	if err := owner.VM().Advance(ctx, 0); err != nil {
		t.Fatal(err)
	}
	wantLogged(t, owner.VM(), `queue ready: "one" <nil>`, `queue ready: "two" <nil>`)
}

// What a request costs in host calls is a budget that a test can hold.
func TestHostCallsAreCounted(t *testing.T) {
	var calls wasmtest.HostCalls
	p := startProbe(t, wasmtest.Options{OnHostCall: calls.Count})
	if calls.In("proxy_on_configure")["proxy_get_buffer_bytes"] != 1 {
		t.Errorf("got %v", calls.In("proxy_on_configure"))
	}
	calls.Reset()
	request(t, p, "get x-a;get x-b", "x-a", "1")
	want := map[string]int{"proxy_get_header_map_value": 3, "proxy_log": 2}
	if got := calls.In("proxy_on_request_headers"); !reflect.DeepEqual(got, want) || calls.Total() < 5 {
		t.Errorf("got %v of %d", got, calls.Total())
	}
}
