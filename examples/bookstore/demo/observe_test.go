package demo

import (
	"fmt"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var (
	storeOne = mesh.Name{Namespace: "bookstore", Name: StoreOne}
	storeTwo = mesh.Name{Namespace: "bookstore", Name: StoreTwo}
)

// stocked is a mesh with the split of the example, 50 to 50.
func stocked() *mesh.Snapshot {
	service := func(n mesh.Name) mesh.Service {
		return mesh.Service{Name: n, Ports: []mesh.ServicePort{{Port: 14001, Endpoints: []mesh.Endpoint{{Workload: n}}}}}
	}
	return &mesh.Snapshot{
		Services: []mesh.Service{service(storeOne), service(storeTwo)},
		Splits:   []mesh.Split{{Root: Bookstore, Backends: []mesh.Backend{{Service: storeOne, Weight: 50}, {Service: storeTwo, Weight: 50}}}},
	}
}

// at is a sample so many seconds after the start, with what each store counted.
func at(seconds float64, one, two, denied int) sample {
	count := func(to mesh.Name, all, denied int) Metrics {
		text := fmt.Sprintf("# TYPE x counter\nosm_request_total{source_namespace=\"bookbuyer\",source_kind=\"Workload\",source_name=\"bookbuyer\","+
			"destination_namespace=%q,destination_kind=\"Workload\",destination_name=%q,response_code=\"200\"} %d\n"+
			"wasmcustom_wasmesh_denials_total{source=\"bookbuyer/bookbuyer\",destination=%q,reason=\"path\"} %d\n"+
			"envoy_control_plane_connected_state{} 1\n", to.Namespace, to.Name, all, to, denied)
		m, err := parseMetrics(text)
		if err != nil {
			panic(err)
		}
		return m
	}
	return sample{
		at: time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second))), snapshot: stocked(),
		metrics: map[mesh.Name]Metrics{storeOne: count(storeOne, one, denied), storeTwo: count(storeTwo, two, 0)},
	}
}

func TestRatesAndSharesComeFromDifferences(t *testing.T) {
	var h history
	for second := range 30 {
		// 8 requests per second to one, 2 to the other; from second 20 on the first
		// store denies half of its own.
		h.add(at(float64(second), 100+8*second, 7+2*second, 4*max(0, second-20)))
	}
	v := h.view([]member{{workload: storeOne}}, "here", time.Minute)
	if len(v.Calls) != 2 || v.Calls[0].Allowed != 4 || v.Calls[0].Denied != 4 || v.Calls[0].Reason != "path" {
		t.Errorf("calls to the first store: %+v", v.Calls)
	}
	if v.Calls[1].Allowed != 2 || v.Calls[1].Denied != 0 || v.Calls[1].Reason != "" {
		t.Errorf("calls to the second store: %+v", v.Calls)
	}
	if v.Window != shareWindow || v.Shares[0].Requests != 80 || v.Shares[1].Requests != 20 {
		t.Errorf("shares over %v: %+v", v.Window, v.Shares)
	}
	if len(h.samples) > 12 {
		t.Errorf("%d samples are kept", len(h.samples))
	}
	if !v.Sidecars[0].Connected || v.Sidecars[0].Serves {
		t.Errorf("sidecar: %+v", v.Sidecars[0])
	}
}

// What the caller's own sidecar refuses is a call that was denied; what the callee
// answers is not counted twice.
func TestOwnRefusals(t *testing.T) {
	m, err := parseMetrics("envoy_wasmesh_forbidden_total{destination=\"bookstore/bookstore:14001\",reason=\"source\"} 7\n" +
		"envoy_wasmesh_forbidden_total{destination=\"bookstore/bookstore:14001\",reason=\"\"} 9\n")
	if err != nil {
		t.Fatal(err)
	}
	calls := sample{metrics: map[mesh.Name]Metrics{{Namespace: "bookthief", Name: "bookthief"}: m}}.calls()
	c := calls[pair{"bookthief/bookthief", "bookstore/bookstore:14001"}]
	if len(calls) != 1 || c.all != 7 || c.denied() != 7 {
		t.Errorf("got %+v", calls)
	}
}

func TestOneSampleIsEnough(t *testing.T) {
	var h history
	h.add(at(0, 5, 5, 1))
	v := h.view(nil, "here", 0)
	if v.Calls[0].Allowed != 0 || v.Calls[0].Denied != 0 || v.Shares[0].Requests != 0 {
		t.Errorf("one sample says nothing about rates: %+v", v)
	}
}

func TestParseMetricsRefusesWhatItCannotRead(t *testing.T) {
	for _, text := range []string{`x{a="b" 1`, `x{a=b} 1`, `x one`, `{a="b"} 1`, "x"} {
		if m, err := parseMetrics(text); err == nil {
			t.Errorf("%q was read as %v", text, m)
		}
	}
	m, err := parseMetrics("a{x=\"1,\\\"}\",y=\"2\"} 3\na{y=\"2\"} 4\n\nb 1e3\n")
	if err != nil || m.Sum("a", map[string]string{"y": "2"}) != 7 || m.Sum("a", map[string]string{"x": `1,"}`}) != 3 {
		t.Errorf("%v, %v", m, err)
	}
	if v, ok := m.Find("b"); !ok || v != 1000 {
		t.Errorf("b is %v, %v", v, ok)
	}
}
