package serve

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// desk plays the proxy's part against the state: it keeps what was put and
// answers as it is told.
type desk struct {
	t     *testing.T
	state state
	puts  []xds.Resources
	nonce int
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t}
	d.state = state{
		streams: map[string]*stream{},
		log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		put: func(_ context.Context, _ string, r xds.Resources) error {
			d.puts = append(d.puts, r)
			return nil
		},
		drop: func(string) {},
		tell: func() {},
	}
	return d
}

func (d *desk) do(e event) {
	d.t.Helper()
	if err := e.apply(d.t.Context(), &d.state); err != nil {
		d.t.Fatal(err)
	}
}

// answer sends a response with the names and answers it; an empty cause is an ACK.
func (d *desk) answer(typeURL, cause string, names ...string) {
	d.nonce++
	n := string(rune('a' + d.nonce))
	d.do(sent{"p#1", typeURL, delivery{nonce: n, names: names}})
	d.do(answered{key: "p#1", typeURL: typeURL, nonce: n, cause: cause, at: time.Unix(1, 0)})
}

func (d *desk) last() xds.Resources { return d.puts[len(d.puts)-1] }

// names lists what the proxy should have of a type.
func (d *desk) names(typeURL string) []string {
	var out []string
	for name := range d.last()[typeURL] {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var caller = mesh.Name{Namespace: "shop", Name: "caller"}

// meshOf makes a mesh of one caller and the named services, one endpoint each.
func meshOf(services ...string) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: "test", Workloads: []mesh.Workload{{
		Name: caller, ServiceAccount: caller,
		Address: netip.MustParseAddr("127.10.0.1"), Application: netip.MustParseAddr("127.20.0.1"),
		Loopback: netip.MustParsePrefix("127.31.0.0/16"),
		Ports:    []mesh.WorkloadPort{{Port: 80, Protocol: mesh.HTTP1}},
	}}}
	s.Access = []mesh.Access{{ServiceAccount: caller, Grants: []policy.Grant{{
		Name: "shop/itself", Sources: []string{mesh.SPIFFEID("test", caller)}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{{Name: "any"}},
	}}}}
	for i, name := range services {
		s.Services = append(s.Services, mesh.Service{
			Name: mesh.Name{Namespace: "shop", Name: name}, Offset: uint16(0x0101 + i),
			Ports: []mesh.ServicePort{{Port: 80, Protocol: mesh.HTTP1, Endpoints: []mesh.Endpoint{{
				Workload: caller, ServiceAccount: caller, Address: netip.MustParseAddr("127.10.0.1"), Port: 80,
			}}}},
		})
	}
	return s
}

func outbound(service string) string {
	return xds.OutboundName(mesh.Name{Namespace: "shop", Name: service}, 80)
}

func (d *desk) waitingFor(typeURL string) []string {
	return slices.Sorted(maps.Keys(d.state.streams["p#1"].waiting[typeURL]))
}

// settle acknowledges everything of the current step.
func (d *desk) settle() {
	for range 5 {
		for _, typeURL := range served() {
			if names := d.waitingFor(typeURL); len(names) > 0 {
				d.answer(typeURL, "", names...)
			}
		}
	}
	if p := d.state.proxies(); !p[0].Settled {
		d.t.Fatalf("not settled: %+v", d.state.streams["p#1"].waiting)
	}
}

func open(d *desk, s *mesh.Snapshot) {
	d.do(published{s, xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	d.settle()
}

func TestRoutesWaitForTheClustersTheyName(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	d.do(published{meshOf("b"), xds.Settings{Module: "00"}})
	if got := d.names(xds.RouteType); !slices.Equal(got, []string{outbound("a")}) {
		t.Fatalf("routes moved before the cluster was acknowledged: %v", got)
	}
	if got := d.names(xds.ClusterType); len(got) != 3 {
		t.Fatalf("clusters are not the union of old and new: %v", got)
	}
	d.answer(xds.ClusterType, "", outbound("b"))
	if got := d.names(xds.RouteType); !slices.Equal(got, []string{outbound("a")}) {
		t.Fatalf("routes moved before the endpoints were acknowledged: %v", got)
	}
	d.answer(xds.EndpointType, "", d.waitingFor(xds.EndpointType)...)
	if got := d.names(xds.RouteType); !slices.Equal(got, []string{outbound("b")}) {
		t.Fatalf("routes did not move: %v", got)
	}
	if got := d.names(xds.ClusterType); len(got) != 3 {
		t.Fatalf("the old cluster went before the routes were acknowledged: %v", got)
	}
	d.settle()
	if got := d.names(xds.ClusterType); len(got) != 2 {
		t.Errorf("the old cluster is still there: %v", got)
	}
}

func TestPolicyWaitsForNothing(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	s := meshOf("b") // its cluster is never acknowledged
	d.do(published{s, xds.Settings{Module: "00"}})
	before := d.last()[xds.FilterType]["wasmesh.access"]
	revoked := meshOf("b")
	revoked.Access = []mesh.Access{{ServiceAccount: caller, Grants: []policy.Grant{{Name: "shop/t"}}}}
	d.do(published{revoked, xds.Settings{Module: "00"}})
	if sameMessage(before, d.last()[xds.FilterType]["wasmesh.access"]) {
		t.Error("a policy edit waited for a cluster")
	}
}

func TestRefusalIsKeptAndHoldsWhatBuildsOnIt(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	d.do(published{meshOf("b"), xds.Settings{Module: "00"}})
	d.answer(xds.EndpointType, "", d.waitingFor(xds.EndpointType)...)
	d.answer(xds.ClusterType, "bad cluster", outbound("b"))
	if got := d.names(xds.RouteType); !slices.Equal(got, []string{outbound("a")}) {
		t.Errorf("a route to a refused cluster was sent: %v", got)
	}
	p := d.state.proxies()[0]
	if p.Settled || len(p.Refusals) != 1 || p.Refusals[0].Cause != "bad cluster" || p.Refusals[0].Resources[0] != outbound("b") {
		t.Errorf("the refusal is not told: %+v", p)
	}
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.answer(xds.ClusterType, "", outbound("a"))
	if p := d.state.proxies()[0]; len(p.Refusals) != 0 {
		t.Errorf("the refusal stays after an ACK: %+v", p)
	}
}

func TestAnswerToAnOlderResponseCountsForNothing(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	d.do(published{meshOf("b"), xds.Settings{Module: "00"}})
	d.do(sent{"p#1", xds.ClusterType, delivery{nonce: "new", names: []string{outbound("b")}}})
	d.do(answered{key: "p#1", typeURL: xds.ClusterType, nonce: "old"})
	if !d.state.streams["p#1"].waiting[xds.ClusterType][outbound("b")] {
		t.Error("an old nonce acknowledged a new response")
	}
}

func TestUnknownWorkloadGetsNothing(t *testing.T) {
	d := newDesk(t)
	d.do(published{&mesh.Snapshot{TrustDomain: "test"}, xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	for typeURL, byName := range d.last() {
		if len(byName) > 0 {
			t.Errorf("%s: %v", typeURL, byName)
		}
	}
}

// A proxy asks for its filters one by one and may be sent the second before it
// has answered the first.
func TestTwoResponsesOfOneTypeAreBothAnswered(t *testing.T) {
	d := newDesk(t)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.RuntimeType} {
		d.answer(typeURL, "", d.waitingFor(typeURL)...)
	}
	for _, name := range d.waitingFor(xds.FilterType) {
		d.do(sent{"p#1", xds.FilterType, delivery{nonce: "of " + name, names: []string{name}}})
	}
	names := d.waitingFor(xds.FilterType)
	d.do(answered{key: "p#1", typeURL: xds.FilterType, nonce: "of " + names[0], cause: "bad", at: time.Unix(1, 0)})
	for _, name := range names[1:] {
		d.do(answered{key: "p#1", typeURL: xds.FilterType, nonce: "of " + name, at: time.Unix(1, 0)})
	}
	p := d.state.proxies()[0]
	if len(names) < 2 || d.state.streams["p#1"].isWaiting() {
		t.Errorf("%d filters were sent, and an answer is still waited for", len(names))
	}
	if len(p.Refusals) != 1 || !slices.Equal(p.Refusals[0].Resources, names[:1]) {
		t.Errorf("the refusal of %s is not told: %+v", names[0], p)
	}
}

// TestAFilterThatIsGoneIsNotWaitedFor: a workload lost its last port before its
// proxy had asked for the filters.
func TestAFilterThatIsGoneIsNotWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", caller, time.Unix(0, 0), bearer{}})
	portless := meshOf("b")
	portless.Workloads[0].Ports = nil
	d.do(published{portless, xds.Settings{Module: "00"}})
	for range 5 {
		for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.RuntimeType} {
			if names := d.waitingFor(typeURL); len(names) > 0 {
				d.answer(typeURL, "", names...)
			}
		}
	}
	if got := d.names(xds.ClusterType); !slices.Contains(got, outbound("b")) {
		t.Errorf("the proxy has the clusters %v, and never hears of %s", got, outbound("b"))
	}
	if p := d.state.proxies(); !p[0].Settled {
		t.Errorf("not settled: it waits for %v", d.state.streams["p#1"].waiting)
	}
}
