package wasmhost

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// differences are the places where wasmtest is not Envoy, on purpose, each with
// what shows it. One that is gone fails its test: then it leaves this list and
// the package comment of wasmtest.
var differences = []struct {
	name, reason string
	visit
	// envoy is in Envoy's transcript only, ours in wasmtest's only; empty for
	// nothing to look for.
	envoy, ours string
}{
	{
		name: "repeated headers", reason: "which headers Envoy joins before a filter is Envoy's codec, not the host",
		visit: visit{headers: pairs("accept", "a", "accept", "b")},
		envoy: "upstream accept: a,b", ours: "upstream accept: b",
	},
	{
		name: "properties", reason: "a test says what its stream is; computing it would be a second proxy",
		visit: visit{do: "property request/path"},
		envoy: `property request/path: "/p" <nil>`, ours: `property request/path: "" error status returned by host: not found`,
	},
	{
		name: "reply to gRPC", reason: "Envoy's HTTP layer rewrites it, LocalReply.GRPCStatus tells what with",
		visit: visit{do: "reply", headers: pairs("content-type", "application/grpc")},
		envoy: "client grpc-status: 7", ours: "client 403",
	},
	{
		name: "gRPC calls", reason: "no Go SDK makes them",
		visit: visit{do: "grpc"}, envoy: "grpc: 1", ours: "grpc: 12",
	},
	{
		name: "foreign functions", reason: "they are extensions of Envoy, not of the ABI",
		visit: visit{do: "foreign clear_route_cache"},
		envoy: "foreign clear_route_cache: <nil>", ours: "foreign clear_route_cache: error status returned by host: not found",
	},
	{
		name: "routes", reason: "there is no router: a request without what Envoy's routes need goes on",
		visit: visit{do: "set x-new v"}, envoy: "client 404", ours: "upstream x-new: v",
	},
	{
		name: "malformed maps", reason: "Envoy takes them for empty ones without a word",
		visit: visit{do: "setmany"}, ours: "host: taken for an empty map",
	},
	{
		name: "exit", reason: "a guest that exits is lost; wasmtest says so at once",
		visit: visit{door: "exit", do: "exit"}, ours: "client 503",
	},
}

func TestDifferences(t *testing.T) {
	for _, c := range differences {
		t.Run(c.name, func(t *testing.T) {
			if c.door == "" {
				c.door = "http"
			}
			has := func(tr transcript, text string) bool {
				return text == "" || slices.ContainsFunc(tr, func(l string) bool { return strings.HasSuffix(l, text) || strings.Contains(l, text+":") })
			}
			c.enough = func(tr transcript) bool { return has(tr, c.envoy) && has(tr, `stream done, path "/p" <nil>`) }
			real, ours := both(t, c.visit)
			if !has(real, c.envoy) || !has(ours, c.ours) {
				t.Errorf("they differ otherwise than said (%s):\n%s", c.reason, differ(real, ours))
			}
			if testing.Verbose() {
				t.Log("\n" + differ(real, ours))
			}
			if c.envoy != "" && has(ours, c.envoy) || c.ours != "" && has(real, c.ours) {
				t.Errorf("the difference is gone:\n%s", differ(real, ours))
			}
		})
	}
}

// A worker's plugin was started before, to validate it, in another VM.
func TestStartCallbacksRunOnceHere(t *testing.T) {
	d := doorNamed(t, "http")
	if validated := inEnvoy.said(d, 0, true); len(validated) < len(here.started[d.name]) {
		t.Errorf("the difference is gone: Envoy's main thread logged %q", validated)
	}
}

// What the upstream of a call gets beyond what the guest wrote is the router's.
func TestCallsLackWhatTheRouterAdds(t *testing.T) {
	compare(t, visit{door: "http", do: "call auth /yes 2000 resume;pause"})
	_, called := inEnvoy.backends.received()
	if len(called) != 1 || !slices.ContainsFunc(called[0].headers, func(h wasmtest.Pair) bool { return slices.Contains(notSent, h.Name) }) {
		t.Errorf("the difference is gone: Envoy sent %+v", called)
	}
}

// A guest that sleeps spins an Envoy worker for as long; here no time passes,
// and the VM says how long it would have been.
func TestSleepBlocksAWorker(t *testing.T) {
	const nap = 300 * time.Millisecond
	v := visit{door: "http", do: "sleep 300"}
	d := doorNamed(t, v.door)
	vm := here.vms[d.vm]
	blocked, now := vm.Blocked(), vm.Now()
	ours := here.visit(t.Context(), d, v)
	if vm.Blocked()-blocked < nap || !vm.Now().Equal(now) {
		t.Errorf("blocked for %v, and the clock went on by %v", vm.Blocked()-blocked, vm.Now().Sub(now))
	}
	began := time.Now()
	real, err := inEnvoy.visit(d, v, ours)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < nap || real.String() != ours.String() {
		t.Errorf("envoy took %v\n%s", took, differ(real, ours))
	}
}
