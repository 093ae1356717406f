package wasmtest_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

func TestProperties(t *testing.T) {
	p := startProbe(t, wasmtest.Options{VMID: "vm-1", Properties: wasmtest.Properties{"node": wasmtest.Text("n")}})
	s := p.HTTP(wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("connection", "id"):             wasmtest.Uint(0),
		wasmtest.Path("connection", "mtls"):           wasmtest.Bool(true),
		wasmtest.Path("request", "duration"):          wasmtest.Span(258),
		wasmtest.Path("request", "time"):              wasmtest.Instant(time.Unix(0, 1)),
		wasmtest.Path("response", "code"):             wasmtest.Int(-1),
		wasmtest.Path("filter_state", "wasmesh.peer"): wasmtest.Text("uri|dns|8080"),
	}})
	s.RequestHeaders(t.Context(), wasmtest.Pairs("x-request-do", "property connection/id;property connection/mtls;"+
		"property request/duration;property request/time;property response/code;property filter_state/wasmesh.peer;"+
		"property node;property plugin_name;property plugin_root_id;property plugin_vm_id;property cluster_name;"+
		"setproperty mine 1;property mine;property filter_state/wasm.mine"), true)
	wantLogged(t, p.VM(),
		`property connection/id: "\x00\x00\x00\x00\x00\x00\x00\x00" <nil>`,
		`property connection/mtls: "\x01" <nil>`,
		`property request/duration: "\x02\x01\x00\x00\x00\x00\x00\x00" <nil>`,
		`property request/time: "\x01\x00\x00\x00\x00\x00\x00\x00" <nil>`,
		`property response/code: "\xff\xff\xff\xff\xff\xff\xff\xff" <nil>`,
		`property filter_state/wasmesh.peer: "uri|dns|8080" <nil>`,
		`property node: "n" <nil>`, `property plugin_name: "probe" <nil>`, `property plugin_root_id: "root" <nil>`,
		`property plugin_vm_id: "vm-1" <nil>`, `property cluster_name: "" error status returned by host: not found`,
		`property mine: "1" <nil>`, `property filter_state/wasm.mine: "1" <nil>`)
}

func TestMetrics(t *testing.T) {
	p := startProbe(t, wasmtest.Options{}, "do metric counter 3;metric gauge 5;metric histogram 7;metric histogram 8")
	wantLogged(t, p.VM(), "metric counter 3: 3 ids differ: true", "metric gauge 5: 4")
	want := []wasmtest.Metric{
		{Kind: wasmtest.Counter, Name: "wasmcustom.hits", Value: 3},
		{Kind: wasmtest.Gauge, Name: "wasmcustom.level", Value: 4},
		{Kind: wasmtest.Histogram, Name: "wasmcustom.time", Samples: []uint64{7, 8}},
	}
	if got := p.VM().Proxy().Metrics(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if m, ok := p.VM().Proxy().Metric(wasmtest.Counter, "hits"); !ok || m.Value != 3 {
		t.Errorf("got %+v %v", m, ok)
	}
}

// The SDK panics where Envoy refuses to add nothing to a counter.
func TestCounterRefusesZero(t *testing.T) {
	p := startProbe(t, wasmtest.Options{})
	if _, r := request(t, p, "metric counter 0"); r.Reply == nil || r.Reply.Status != 503 {
		t.Errorf("got %+v", r)
	}
}

// Two VMs with one Proxy see each other's shared data, as two workers do.
func TestSharedDataBetweenWorkers(t *testing.T) {
	proxy := wasmtest.NewProxy()
	a := startProbe(t, wasmtest.Options{Proxy: proxy, VMID: "v"}, "do shared k;share k one 0;shared k")
	b := startProbe(t, wasmtest.Options{Proxy: proxy, VMID: "v"}, "do share k two 99;share k two 1;shared k")
	c := startProbe(t, wasmtest.Options{Proxy: proxy, VMID: "w"}, "do shared k")
	wantLogged(t, a.VM(), "shared k:  0 error status returned by host: not found", "share k one 0: <nil>", "shared k: one 1 <nil>")
	wantLogged(t, b.VM(), "share k two 99: error status returned by host: cas mismatch", "share k two 1: <nil>", "shared k: two 2 <nil>")
	wantLogged(t, c.VM(), "shared k:  0 error status returned by host: not found")
	if v, ok := proxy.SharedData("v", "k"); !ok || string(v) != "two" {
		t.Errorf("got %q %v", v, ok)
	}
}

func TestEffectiveContext(t *testing.T) {
	p := startProbe(t, wasmtest.Options{}, "do effective 1;effective 99;effective 0")
	wantLogged(t, p.VM(), "effective 1: <nil>", "effective 99: error status returned by host: bad argument", "effective 0: <nil>")
}

func TestClockAndSmallCalls(t *testing.T) {
	now := time.Unix(1000, 5)
	p := startProbe(t, wasmtest.Options{Now: now, Configuration: []byte("abc")})
	request(t, p, "time")
	wantLogged(t, p.VM(), "time: 1000000000005 1000000000005 23 3 0")
	if err := p.VM().Advance(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	request(t, p, "time")
	wantLogged(t, p.VM(), "time: 1060000000005 1060000000005 23 3 0")
}

func TestStandardStreamsBecomeLogLines(t *testing.T) {
	p := startProbe(t, wasmtest.Options{Environment: wasmtest.Pairs("K", "V")}, "do stdio")
	levels := map[string]wasmtest.Level{}
	for _, l := range p.VM().Logs() {
		levels[l.Message] = l.Level
	}
	if levels["to stdout"] != wasmtest.LevelInfo || levels["to stderr"] != wasmtest.LevelError {
		t.Errorf("got %s", transcript(p.VM()))
	}
	wantLogged(t, p.VM(), "stdio: 0 [K=V] open /etc/hostname: No such file or directory")
}

func TestUnsupportedCallsAreNamed(t *testing.T) {
	p := startProbe(t, wasmtest.Options{}, "do grpc;foreign f")
	wantLogged(t, p.VM(), "grpc: 12", "foreign f: error status returned by host: not found")
	want := []string{"proxy_call_foreign_function", "proxy_grpc_close"}
	if got := p.VM().Unsupported(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
