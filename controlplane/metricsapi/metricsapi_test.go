package metricsapi_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	metrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

const interval = 10 * time.Second

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func scrape(t testing.TB, text string) metricsapi.Scrape {
	t.Helper()
	s, err := metricsapi.ReadScrape([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func recorded(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/bookstore-v1.prom")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var storePod = metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: "store-v1", Pod: "store-v1-6d4-a"}

// recordedTraffic is what one sidecar counted since it started 12 s ago.
func recordedTraffic(t testing.TB) metricsapi.Traffic {
	t.Helper()
	w := metricsapi.NewWindow(time.Minute, interval)
	w.Add(storePod, scrape(t, recorded(t)), noon)
	return w.Traffic(30*time.Second, noon)
}

// figures are the five values of an answer: successes, failures and the latencies.
func figures(item metricsapi.TrafficMetrics) (out [5]float64) {
	for i, name := range []string{"success_count", "failure_count", "p50_response_latency", "p90_response_latency", "p99_response_latency"} {
		out[i] = float64(item.Get(name).Value.MilliValue()) / 1000
	}
	return out
}

func TestRecorded(t *testing.T) {
	m, traffic := shop(), recordedTraffic(t)
	all := [5]float64{96, 9, 1, 7.5, 9.75}
	for what, want := range map[string][5]float64{
		"deployments/store-v1": all, "pods/store-v1-6d4-a": all, "namespaces/shop": all,
		"deployments/buyer": {}, "deployments/store-v2": {}, "pods/store-v1-6d4-b": {}, "jobs/once": {}, "workloads/vm": {},
	} {
		resource, name, _ := strings.Cut(what, "/")
		o := object(t, m, resource, name)
		item := metricsapi.Item(metricsapi.Question{Kind: o.Kind, Name: name, Window: 30 * time.Second}, traffic, o)
		equal(t, what, figures(item), want)
		if item.Interval == nil || item.Window.Duration != 30*time.Second || !item.Timestamp.Time.Equal(noon) || len(item.Metrics) != 5 {
			t.Errorf("%s: %+v", what, item.Interval)
		}
	}
}

func TestEdgesOfRecorded(t *testing.T) {
	m, traffic := shop(), recordedTraffic(t)
	type edge struct {
		direction, kind, name string
		figures               [5]float64
	}
	bought := [5]float64{96, 4, 1, 7.5, 9.75}
	for what, want := range map[string][]edge{
		"deployments/store-v1": {{"from", "unknown", "unknown", [5]float64{0, 5}}, {"from", "Deployment", "buyer", bought}},
		"deployments/buyer":    {{"to", "Deployment", "store-v1", bought}},
		"pods/store-v1-6d4-a":  {{"from", "unknown", "unknown", [5]float64{0, 5}}, {"from", "Deployment", "buyer", bought}},
		"namespaces/shop":      {{"from", "Namespace", "shop", bought}, {"from", "unknown", "unknown", [5]float64{0, 5}}, {"to", "Namespace", "shop", bought}},
		"deployments/store-v2": nil,
	} {
		resource, name, _ := strings.Cut(what, "/")
		o := object(t, m, resource, name)
		var got []edge
		for _, item := range metricsapi.EdgeList(metricsapi.Question{Kind: o.Kind, Name: name, Window: time.Minute}, traffic, o).Items {
			got = append(got, edge{string(item.Edge.Direction), item.Edge.Resource.Kind, item.Edge.Resource.Name, figures(item)})
		}
		equal(t, what, got, want)
	}
}

// TestSplit: one item for each backend, with what its destinations got.
func TestSplit(t *testing.T) {
	m, traffic := shop(), recordedTraffic(t)
	k := kind(t, "trafficsplits")
	list := metricsapi.List(metricsapi.Question{Kind: k, Namespace: "shop", Window: time.Minute}, traffic, m.List(k, "shop"))
	if len(list.Items) != 2 {
		t.Fatalf("%+v", list.Items)
	}
	for i, want := range []struct {
		name    string
		weight  int
		figures [5]float64
	}{{"store-v1", 90, [5]float64{96, 9, 1, 7.5, 9.75}}, {"store-v2", 10, [5]float64{}}} {
		b := list.Items[i].Backend
		if b == nil || b.Apex != "store" || b.Name != want.name || b.Weight != want.weight {
			t.Errorf("backend %d is %+v", i, b)
		}
		equal(t, want.name, figures(list.Items[i]), want.figures)
	}
}

// TestWireForm: what a client of SMI's Go types reads, and what it shows.
func TestWireForm(t *testing.T) {
	m, traffic := shop(), recordedTraffic(t)
	o := object(t, m, "deployments", "store-v1")
	text, err := json.Marshal(metricsapi.Item(metricsapi.Question{Kind: o.Kind, Name: "store-v1", Window: 30 * time.Second}, traffic, o))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"kind":"TrafficMetrics","apiVersion":"metrics.smi-spec.io/v1alpha1"`, `"timestamp":"2030-01-01T12:00:00Z","window":"30s"`,
		`"resource":{"kind":"Deployment","namespace":"shop","name":"store-v1"}`, `"edge":{"direction":"from","resource":null}`,
		`{"name":"p99_response_latency","unit":"ms","value":"9750m"}`, `{"name":"success_count","value":"96"}`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s lacks %s", text, part)
		}
	}
	var back metrics.TrafficMetrics
	if err := json.Unmarshal(text, &back); err != nil || back.Get("success_count").Value.Value() != 96 || back.Interval.Window.Duration != 30*time.Second {
		t.Errorf("read back: %v %+v", err, back)
	}
	if strings.Contains(string(text), "backend") || strings.Contains(string(text), "partial") {
		t.Errorf("%s", text)
	}
}

func TestSucceeded(t *testing.T) {
	for code, want := range map[string]bool{"200": true, "101": true, "404": true, "499": true, "500": false, "503": false, "0": false, "": false, "600": false, "20": false, "2000": false} {
		if metricsapi.Succeeded(code) != want {
			t.Errorf("%q: want %v", code, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	inf := math.Inf(1)
	h := metricsapi.Histogram{1: 10, 5: 30, 10: 40, inf: 50}
	for q, want := range map[float64]float64{0: 0, 0.1: 0.5, 0.2: 1, 0.5: 4, 0.8: 10, 0.9: 10, 0.99: 10, 1: 10} {
		if got, ok := h.Quantile(q); !ok || math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: got %v %v, want %v", q, got, ok, want)
		}
	}
	// Counters that were read one after the other may fall.
	falling := metricsapi.Histogram{1: 10, 5: 8, 10: 20, inf: 19}
	if got, ok := falling.Quantile(0.75); !ok || math.Abs(got-7.5) > 1e-9 {
		t.Errorf("falling: %v %v", got, ok)
	}
	for name, none := range map[string]metricsapi.Histogram{"nil": nil, "zeros": {1: 0, inf: 0}, "without +Inf": {1: 1, 5: 2}, "+Inf alone": {inf: 3}} {
		if v, ok := none.Quantile(0.5); ok {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// TestMalformed is refused, each beside its accepted twin.
func TestMalformed(t *testing.T) {
	good := recorded(t)
	scrape(t, good)
	for name, change := range map[string][2]string{
		"no destination":   {`destination_name="store-v1",`, ``},
		"no code":          {`,response_code="404"`, ``},
		"a long code":      {`response_code="404"`, `response_code="4040"`},
		"a long name":      {`source_name="buyer"`, `source_name="` + strings.Repeat("a", 254) + `"`},
		"a negative count": {`response_code="200"} 90`, `response_code="200"} -90`},
		"no number":        {`response_code="200"} 90`, `response_code="200"} NaN`},
		"no metric":        {`osm_request_total{`, `<html>{`},
		"no histogram":     {"duration_ms histogram", "duration_ms untyped"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s: nothing is changed", name)
		}
		if name == "no histogram" { // its buckets are metrics of another name then
			scrape(t, bad)
			continue
		}
		if _, err := metricsapi.ReadScrape([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	pad := strings.Repeat("#\n", (metricsapi.MaxScrape-len(good))/2)
	scrape(t, good+pad)
	if _, err := metricsapi.ReadScrape([]byte(good + pad + "##")); err == nil {
		t.Error("one byte too many is accepted")
	}
}

// TestSlowScrapes: what a hostile sidecar sends is read or refused within seconds,
// a long scrape of an honest one is read.
func TestSlowScrapes(t *testing.T) {
	var labels strings.Builder
	for i := range 400_000 {
		fmt.Fprintf(&labels, "a%x=\"\",", i)
	}
	var edges strings.Builder
	for i := range metricsapi.MaxSeries {
		fmt.Fprintf(&edges, "osm_request_total{source_namespace=\"s\",source_kind=\"Job\",source_name=\"%d\",destination_namespace=\"d\",destination_kind=\"Job\",destination_name=\"d\",response_code=\"200\"} 1\n", i)
	}
	few := "x{" + strings.Repeat(`a="",`, 32) + "} 1\n"
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"one line of labels":   {"x{" + labels.String() + "} 1\n", false},
		"many lines of labels": {strings.Repeat(few, metricsapi.MaxScrape/len(few)), false},
		"a long line":          {"# " + strings.Repeat("x", 1<<20), false},
		"many edges":           {edges.String(), true},
		"one too many":         {edges.String() + strings.Replace(edges.String()[:200], `"0"`, `"x"`, 1)[:strings.IndexByte(edges.String(), '\n')+1], false},
	} {
		began := time.Now()
		if _, err := metricsapi.ReadScrape([]byte(c.text)); (err == nil) != c.good {
			t.Errorf("%s, %d bytes: %v", name, len(c.text), err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%s, %d bytes: %v", name, len(c.text), took)
		}
	}
}

func FuzzReadScrape(f *testing.F) {
	f.Add([]byte(recorded(f)))
	f.Add([]byte("osm_request_total{} 1\n"))
	f.Add([]byte("# TYPE osm_request_total counter\nosm_request_total{response_code=\"200\",source_kind=\"unknown\",destination_kind=\"unknown\"} 1e308\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := metricsapi.ReadScrape(text)
		if err != nil {
			return
		}
		w := metricsapi.NewWindow(time.Minute, interval)
		w.Add(storePod, s, noon)
		w.Add(storePod, s, noon.Add(interval))
		sound(t, w.Traffic(time.Minute, noon.Add(interval)))
	})
}

// sound holds traffic to what its readers rely on, and makes an answer of it.
func sound(t *testing.T, traffic metricsapi.Traffic) {
	t.Helper()
	for _, f := range traffic.Flows {
		if f.Success < 0 || f.Failure < 0 || math.IsNaN(f.Success+f.Failure) || f.Destination.Name == "" || f.Source.Name == "" {
			t.Errorf("%+v", f)
		}
	}
	m := shop()
	for _, k := range metricsapi.Kinds() {
		q := metricsapi.Question{Kind: k, Window: time.Minute}
		list := metricsapi.List(q, traffic, m.List(k, ""))
		for _, o := range m.List(k, "") {
			list.Items = append(list.Items, metricsapi.EdgeList(q, traffic, o).Items...)
		}
		for _, item := range list.Items {
			for _, v := range item.Metrics {
				if v.Value.Sign() < 0 {
					t.Errorf("%s is %s", v.Name, v.Value)
				}
			}
		}
		if _, err := json.Marshal(list); err != nil {
			t.Error(err)
		}
	}
}
