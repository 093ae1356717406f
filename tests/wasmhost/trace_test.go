package wasmhost

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// observed are the host calls of the offline side, by vm_id.
var observed = map[string][]string{}

func observe(vm string) func(wasmtest.HostCall) {
	return func(c wasmtest.HostCall) {
		observed[vm] = append(observed[vm], fmt.Sprintf("%s: %s = %d", c.Callback, c.Name, c.Status))
	}
}

// calls reads from Envoy's trace what the guest asked of the host in a worker,
// with the callback it ran and the answer, from a mark on.
func (p *proxy) calls(since int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var running, out []string
	for _, r := range p.records[since:] {
		direction, rest, ok := strings.Cut(r.text, "] ")
		if !ok || r.thread == p.main {
			continue
		}
		switch name, result, _ := strings.Cut(rest, " return: "); direction {
		case "[host->vm":
			callback, _, _ := strings.Cut(rest, "(")
			running = append(running, callback)
		case "[host<-vm":
			running = running[:max(0, len(running)-1)]
		case "[vm<-host":
			_, name, _ = strings.Cut(name, ".")
			callback := ""
			if len(running) > 0 {
				callback = running[len(running)-1]
			}
			out = append(out, fmt.Sprintf("%s: %s = %s", callback, name, result))
		}
	}
	return out
}

// Every host call of a request is compared: its order, the callback it was made
// in, and the status that it answered. So the numbers that wasmtest.HostCalls
// counts are the numbers of the proxy.
func TestHostCalls(t *testing.T) {
	d := doorNamed(t, "trace")
	for _, v := range []visit{
		{do: "pairs;get x-a;add x-b 1;remove x-c;reply"},
		{do: "property plugin_name;setproperty a b;shared k;share k v 0;share k w 77", body: []string{"one"}, trailers: pairs("t", "1")},
		{do: "metric counter 1;metric gauge 2;metric histogram 3", answer: answer{body: []string{"x"}, trailers: pairs("t", "1")}},
		{do: "call auth /yes 2000 resume;pause"},
		{do: "queue register q;queue put q x;queue take q;stdio"},
		{do: "effective 0;done;responseheader a b;call nobody / 1"},
	} {
		v.door = d.name
		observed[d.vm] = nil
		since := inEnvoy.mark()
		both(t, v)
		want, got := observed[d.vm], []string(nil)
		for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); time.Sleep(poll) {
			if got = inEnvoy.calls(since); len(got) >= len(want) {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\n%s", v.do, differ(got, want))
		}
		if len(want) < 5 {
			t.Errorf("%s: only %d host calls were seen", v.do, len(want))
		}
	}
}
