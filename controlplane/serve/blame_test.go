package serve

import (
	"slices"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

func TestBlamedNamesAreWhole(t *testing.T) {
	names := []string{"inbound|80", "inbound|8081", "outbound|shop/a|80"}
	for cause, want := range map[string][]string{
		"Error adding/updating listener(s) inbound|8081: cannot bind '127.0.0.9:8081'":     {"inbound|8081"},
		"Error adding/updating listener(s) inbound|80: x\noutbound|shop/a|80: cannot bind": {"inbound|80", "outbound|shop/a|80"},
		"out of luck": names,
	} {
		if got := blamed(names, cause); !slices.Equal(got, want) {
			t.Errorf("%q blames %v, want %v", cause, got, want)
		}
	}
}

// Of a response with several listeners Envoy takes those that it does not name:
// the refusal ends with the one that it named.
func TestRefusalEndsWithTheResourceThatIsToBlame(t *testing.T) {
	d := newDesk(t)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.RouteType, xds.FilterType, xds.RuntimeType} {
		d.answer(typeURL, "", d.waitingFor(typeURL)...)
	}
	d.answer(xds.ListenerType, "inbound|80: cannot bind", d.waitingFor(xds.ListenerType)...)
	if r := d.state.proxies()[0].Refusals; len(r) != 1 || !slices.Equal(r[0].Resources, []string{"inbound|80"}) {
		t.Fatalf("the refusals are %+v", r)
	}
	d.answer(xds.ListenerType, outbound("a")+": odd", outbound("a"))
	if r := d.state.proxies()[0].Refusals; len(r) != 2 {
		t.Fatalf("a second refusal took the place of the first: %+v", r)
	}
	d.answer(xds.ListenerType, "", "inbound|80", outbound("a"))
	if p := d.state.proxies()[0]; len(p.Refusals) != 0 || !p.Settled {
		t.Errorf("the refusal stays: %+v", p)
	}
}

// A refused filter stops nothing, even if its refusal is the last answer of a step.
func TestRefusedFilterDoesNotStopTheNextStep(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	d.do(published{meshOf("b"), xds.Settings{Module: "11"}})
	filters := d.names(xds.FilterType)
	d.answer(xds.ClusterType, "", d.waitingFor(xds.ClusterType)...)
	d.state.streams["p#1"].waiting[xds.FilterType] = map[string]bool{filters[0]: true}
	d.answer(xds.EndpointType, "", d.waitingFor(xds.EndpointType)...)
	d.answer(xds.FilterType, "no such file", filters[0])
	if got := d.names(xds.RouteType); !slices.Equal(got, []string{outbound("b")}) {
		t.Errorf("the routes wait for a filter that was refused: %v", got)
	}
}
