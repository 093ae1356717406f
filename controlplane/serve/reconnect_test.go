package serve

import (
	"slices"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// versions are what a proxy that runs all of r says when it reconnects.
func versions(t *testing.T, r xds.Resources, typeURL string) map[string]string {
	t.Helper()
	snapshot, err := cacheSnapshot(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.ConstructVersionMap(); err != nil {
		t.Fatal(err)
	}
	return snapshot.GetVersionMap(typeURL)
}

// TestAProxyThatReconnectsGoesOn: it is sent nothing that it has, acknowledges
// nothing, and still gets every later edit.
func TestAProxyThatReconnectsGoesOn(t *testing.T) {
	for _, publishedFirst := range []bool{true, false} {
		d := newDesk(t)
		publish := func(s *mesh.Snapshot) { d.do(published{s, xds.Settings{Module: "00"}}) }
		had := xds.Build(meshOf("a"), caller, xds.Settings{Module: "00"})
		if publishedFirst {
			publish(meshOf("a"))
		}
		d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
		for _, typeURL := range served() {
			d.do(brought{"p#1", typeURL, versions(t, had, typeURL)})
		}
		if !publishedFirst {
			publish(meshOf("a"))
		}
		if p := d.state.proxies(); !p[0].Settled {
			t.Errorf("it has everything, and is waited for: %v", d.state.streams["p#1"].waiting)
		}
		publish(meshOf("b"))
		if got := d.names(xds.ClusterType); !slices.Contains(got, outbound("b")) {
			t.Errorf("after an edit it has the clusters %v", got)
		}
		d.settle()
		if got := d.names(xds.ListenerType); !slices.Contains(got, outbound("b")) || slices.Contains(got, outbound("a")) {
			t.Errorf("in the end it has the listeners %v", got)
		}
	}
}

// TestWhatIsOldIsWaitedFor: a proxy that was away during an edit gets it, and
// until it has taken it, nothing that builds on it.
func TestWhatIsOldIsWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.do(published{meshOf("a", "b"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	for _, typeURL := range served() {
		d.do(brought{"p#1", typeURL, versions(t, xds.Build(meshOf("a"), caller, xds.Settings{Module: "00"}), typeURL)})
	}
	if got := d.waitingFor(xds.ClusterType); !slices.Equal(got, []string{outbound("b")}) {
		t.Errorf("it waits for %v, want %s alone", got, outbound("b"))
	}
}
