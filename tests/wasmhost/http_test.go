package wasmhost

import (
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// Doors that share "main" share a VM.
var doors = []door{
	{name: "http", vm: "main"},
	{name: "resume", vm: "main", config: "tick 50\nontick each resume"},
	{name: "close", vm: "main", config: "tick 50\nontick each close"},
	{name: "tcp", vm: "main", config: "tcp", tcp: true},
	{name: "tcpclose", vm: "main", config: "tcp\ntick 50\nontick each closedownstream", tcp: true},
	{name: "trace", vm: "trace"},
	{name: "exit", vm: "exit"},
	{name: "alive", vm: "alive"},
	{name: "closed", vm: "closed", policy: "FAIL_CLOSED"},
	{name: "open", vm: "open", policy: "FAIL_OPEN"},
	{name: "reload", vm: "reload", policy: "FAIL_RELOAD", backoff: 300},
	{name: "memory", vm: "memory"},
	{name: "tcpclosed", vm: "tcpclosed", config: "tcp", tcp: true, policy: "FAIL_CLOSED"},
	{name: "tcpreload", vm: "tcpreload", config: "tcp", tcp: true, policy: "FAIL_RELOAD", backoff: 300},
	{name: "tcpopen", vm: "tcpopen", config: "tcp", tcp: true, policy: "FAIL_OPEN"},
}

var pairs = wasmtest.Pairs

// visits are what both sides must agree on, by what they show.
var visits = []struct {
	name string
	visit
}{
	{"headers in order", visit{do: "pairs;get x-a;get X-A;get x-none", headers: pairs("x-a", "1", "X-B", "2", "x-a", "3")}},
	{"headers edited", visit{do: "add x-b 2;replace x-a 9;replace x-new 1;remove x-gone;pairs", headers: pairs("x-a", "1", "x-gone", "", "x-a", "2", "x-c", "3")}},
	{"headers replaced", visit{do: "setall x-new v"}},
	{"no such map", visit{do: "responseheader x y"}},
	{"answer of the upstream", visit{answer: answer{headers: pairs("x-u", "1", "x-u", "2"), body: []string{"one"}}}},
	{"request body", visit{do: "get x", body: []string{"one", "two"}}},
	{"request body rewritten", visit{body: []string{"please rewrite ", "me"}}},
	{"request trailers", visit{body: []string{"one"}, trailers: pairs("x-t", "1", "x-u", "2")}},
	{"response body and trailers", visit{answer: answer{body: []string{"a", "b"}, trailers: pairs("x-t", "1")}}},
	{"local reply", visit{do: "reply"}},
	{"local reply to a body", visit{do: "reply", body: []string{"one"}}},
	{"local reply with details", visit{do: "details"}},
	{"local reply into a response", visit{answer: answer{headers: pairs("x-response-do", "reply"), body: []string{"x"}}}},
	{"late local reply", visit{answer: answer{body: []string{"late-reply"}}}},
	{"resume in the callback", visit{do: "resume;pause"}},
	{"resume a response", visit{answer: answer{headers: pairs("x-response-do", "resumeresponse;pause")}}},
	{"close", visit{do: "close"}},
	{"resume by tick", visit{door: "resume", do: "pause", pass: 50 * time.Millisecond, repeats: true}},
	{"resume a body by tick", visit{door: "resume", do: "pause", body: []string{"a", "b"}, pass: 50 * time.Millisecond, repeats: true}},
	{"close by tick", visit{door: "close", do: "pause", pass: 50 * time.Millisecond, repeats: true}},
	{"properties", visit{do: "property plugin_name;property plugin_root_id;property plugin_vm_id;property cluster_name;property a/b;setproperty mine 1;property mine;property filter_state/wasm.mine"}},
	{"shared data", visit{do: "shared k;share k one 0;shared k;share k two 99;share k two 1;shared k;share k three 0;shared k"}},
	{"metrics", visit{do: "metric counter 3;metric gauge 5;metric histogram 7;metric histogram 8"}},
	{"queues", visit{do: "queue resolve q;queue register q;queue resolve q;queue resolve q nobody;queue take q;queue put q one;queue take q;queue take q;queue put q two;queue put q three"}},
	{"effective context", visit{do: "effective 99999;effective 0"}},
	{"streams and WASI", visit{do: "stdio"}},
	{"call", visit{do: "call auth /yes 2000 resume;pause"}},
	{"call with an empty answer", visit{do: "call auth /empty 2000 resume;pause"}},
	{"call and reply", visit{do: "call auth /yes 2000 reply;pause"}},
	{"call that times out", visit{do: "call auth /slow 150 resume;pause"}},
	{"call that is cut", visit{do: "call auth /cut 2000 resume;pause"}},
	{"call to nobody", visit{do: "call dead / 2000 resume;pause"}},
	{"calls that cannot be made", visit{do: "call auht / 100;callnothing auth"}},
	{"call of a stream that is gone", visit{do: "call auth /slow 150;reply"}},
}

func TestHTTP(t *testing.T) {
	for _, c := range visits {
		t.Run(c.name, func(t *testing.T) {
			if c.door == "" {
				c.door = "http"
			}
			compare(t, c.visit)
		})
	}
}
