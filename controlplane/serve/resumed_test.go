package serve

import (
	"slices"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// A proxy that comes back with everything it should have is told nothing, so it
// answers nothing. It is settled all the same, and later edits reach it.
func TestProxyThatComesBackIsNotWaitedFor(t *testing.T) {
	for _, early := range []bool{true, false} {
		d := newDesk(t)
		settings := xds.Settings{Module: "00"}
		if !early { // the other way round after a restart of the control plane
			d.do(published{meshOf("a"), settings})
		}
		d.do(opened{"p#1", caller, time.Unix(0, 0)})
		for typeURL, resources := range xds.Build(meshOf("a"), caller, settings) {
			versions := map[string]string{}
			for name, m := range resources {
				versions[name] = version(m)
			}
			d.do(resumed{"p#1", typeURL, versions})
		}
		if early {
			d.do(published{meshOf("a"), settings})
		}
		if p := d.state.proxies()[0]; !p.Settled {
			t.Fatalf("published later: %v: not settled, waiting for %v", early, d.state.streams["p#1"].waiting)
		}
		d.do(published{meshOf("a", "b"), settings})
		d.settle()
		if got := d.names(xds.ListenerType); !slices.Contains(got, outbound("b")) {
			t.Errorf("published later: %v: an edit did not reach it: %v", early, got)
		}
	}
}

// What it has otherwise will be sent, so its answer is waited for.
func TestWhatCameBackOtherwiseIsWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0)})
	d.do(resumed{"p#1", xds.ClusterType, map[string]string{outbound("a"): "other"}})
	if got := d.waitingFor(xds.ClusterType); !slices.Contains(got, outbound("a")) {
		t.Errorf("waits only for %v", got)
	}
}
