package wasmtest_test

import (
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

func connect(t *testing.T, p *wasmtest.Plugin) *wasmtest.Connection {
	t.Helper()
	c := p.TCP(wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", "wasmesh.peer"): wasmtest.Text("spiffe://a|b|1"),
	}})
	if r := c.Open(t.Context()); r.Action != wasmtest.Continue {
		t.Fatalf("got %+v", r)
	}
	return c
}

func TestConnectionCarriesData(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tcp")
	c := connect(t, p)
	c.DownstreamData(ctx, []byte("do pause;property filter_state/wasmesh.peer"), false)
	if c.ToUpstream() != nil {
		t.Error("paused bytes went on")
	}
	c.DownstreamData(ctx, []byte(";"), false)
	wantLogged(t, p.VM(), `downstream data "do pause;property filter_state/wasmesh.peer;" end=false`,
		`property filter_state/wasmesh.peer: "spiffe://a|b|1" <nil>`)
	c.UpstreamData(ctx, []byte("banner"), true)
	if got := string(c.ToDownstream()); got != "BANNER" {
		t.Errorf("client got %q", got)
	}
	c.Close(ctx, wasmtest.CloseRemote)
	c.Close(ctx, wasmtest.CloseRemote)
	wantLogged(t, p.VM(), "upstream close 0", "downstream close 2", "connection done")
}

func TestGuestClosesConnection(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tcp")
	for command, end := range map[string]wasmtest.End{"closedownstream": wasmtest.Downstream, "closeupstream": wasmtest.Upstream} {
		c := connect(t, p)
		r := c.DownstreamData(ctx, []byte("do "+command+";pause"), false)
		if !r.Closed || r.Action != wasmtest.Pause || c.ToUpstream() != nil {
			t.Errorf("%s: got %+v, upstream got %q", command, r, c.ToUpstream())
		}
		if by := c.ClosedByGuest(); len(by) != 1 || by[0] != end {
			t.Errorf("%s: closed %v", command, by)
		}
	}
	wantLogged(t, p.VM(), "downstream close 1", "connection done")
}

func TestTickClosesALiveConnection(t *testing.T) {
	p := startProbe(t, wasmtest.Options{}, "tcp", "tick 500", "ontick each closedownstream")
	c, d := connect(t, p), connect(t, p)
	if err := p.VM().Advance(t.Context(), time.Second); err != nil || !c.Closed() || !d.Closed() {
		t.Errorf("closed %v %v: %v", c.Closed(), d.Closed(), err)
	}
}

func TestConnectionOfAFailedVMIsClosed(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tcp")
	c, d := connect(t, p), connect(t, p)
	if r := c.DownstreamData(ctx, []byte("do panic"), false); !r.Closed || p.VM().Failure() == nil {
		t.Errorf("got %+v", r)
	}
	if r := d.DownstreamData(ctx, []byte("x"), false); !r.Closed {
		t.Errorf("got %+v", r)
	}
}
