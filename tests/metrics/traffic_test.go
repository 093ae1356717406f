package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metricsv1alpha1 "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"

	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// application is the store's: it answers /CODE with that code after delay, and
// counts. It is what the mesh's figures are held against.
type application struct {
	mu    sync.Mutex
	codes map[int]int
	// received and sent are bytes of bodies.
	received, sent int
}

const delay = 20 * time.Millisecond

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
	if err != nil {
		code = http.StatusOK
	}
	body, _ := io.ReadAll(r.Body)
	time.Sleep(delay)
	w.WriteHeader(code)
	n, _ := w.Write(bytes.Repeat([]byte("."), 3*len(body)))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.codes[code]++
	a.received += len(body)
	a.sent += n
}

func (a *application) serve(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.42.0.2:14001")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// TestTraffic: what the API and a scrape say of requests is what the application
// itself has counted, and how long they took is in the bucket that holds the delay.
func TestTraffic(t *testing.T) {
	a := &application{codes: map[int]int{}}
	a.serve(t)
	c := start(t)
	item := func(path string) *metricsv1alpha1.TrafficMetrics {
		t.Helper()
		out := new(metricsv1alpha1.TrafficMetrics)
		code, _, body := c.ask(t, c.token, base+path)
		if err := json.Unmarshal(body, out); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v %s", path, code, err, body)
		}
		return out
	}
	c.await(t, "both are read", func() bool {
		return item("/namespaces/shop/workloads/store?t=2s").Get("success_count").Value.Value() == 0
	})
	time.Sleep(3 * time.Second) // a scrape before the first request: what it counts rises from there
	for n := range 200 {
		code := []int{200, 200, 404, 503, 200}[n%5]
		r, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.141.0.1:14001/%d", code), strings.NewReader(strings.Repeat("x", 10*n)))
		if err != nil {
			t.Fatal(err)
		}
		// What a caller says of itself names nobody.
		r.Header.Set("osm-stats-name", "forged")
		response, err := http.DefaultClient.Do(r)
		if err != nil || response.StatusCode != code {
			t.Fatalf("call %d: %v %v", n, response, err)
		}
		response.Body.Close()
	}
	scraped(t, c, a)
	good, bad := 0, 0
	for code, n := range a.codes {
		if code < 500 {
			good += n
		} else {
			bad += n
		}
	}
	for _, path := range []string{"/namespaces/shop/workloads/store", "/namespaces/shop"} {
		c.await(t, path+" says so", func() bool {
			got := item(path + "?t=1m")
			return got.Get("success_count").Value.Value() == int64(good) && got.Get("failure_count").Value.Value() == int64(bad)
		})
		got := item(path + "?t=1m")
		for _, quantile := range []string{"p50_response_latency", "p90_response_latency"} {
			if ms := got.Get(quantile).Value.AsApproximateFloat64(); ms <= 10 || ms > 50 {
				t.Errorf("%s of %s is %v ms, want what is in the bucket from 10 to 50", quantile, path, ms)
			}
		}
	}
	terminal(t, c)
	liveTop(t, c)
	for direction, workload := range map[string]string{"from": "store", "to": "buyer"} {
		var edges metricsv1alpha1.TrafficMetricsList
		_, _, body := c.ask(t, c.token, base+"/namespaces/shop/workloads/"+workload+"/edges?t=1m")
		if err := json.Unmarshal(body, &edges); err != nil || len(edges.Items) != 1 {
			t.Fatalf("%s: %v %s", workload, err, body)
		}
		e := edges.Items[0]
		if string(e.Edge.Direction) != direction || e.Get("success_count").Value.Value() != int64(good) || e.Get("failure_count").Value.Value() != int64(bad) {
			t.Errorf("the edge of %s is %+v: %s", workload, e.Edge, body)
		}
	}
}

// terminal: the commands tell the same.
func terminal(t *testing.T, c *caller) {
	t.Helper()
	for _, command := range []struct {
		line string
		want []string
	}{
		{"top --once -t 1m", []string{"shop/workload/store", "80.0"}},
		{"top --once --edges -t 1m", []string{"shop/workload/buyer", "shop/workload/store", "80.0"}},
		{"graph -o dot -t 1m", []string{"digraph", "shop/workload/buyer", "shop/workload/store", "->"}},
	} {
		args := append(strings.Fields(command.line), "--status", c.StatusSocket())
		out, err := exec.CommandContext(t.Context(), programs.Wasmesh, args...).CombinedOutput()
		for _, part := range command.want {
			if err != nil || !strings.Contains(string(out), part) {
				t.Errorf("wasmesh %s: no %q in %s (%v)", command.line, part, out, err)
			}
		}
	}
}

// scraped holds a scrape of the store's sidecar against the application.
func scraped(t *testing.T, c *caller, a *application) {
	t.Helper()
	var counted map[int]int
	c.await(t, "the sidecar has counted what the application has", func() bool {
		text, err := c.Admin(store).Get(t.Context(), "/stats/prometheus?filter=osm_")
		if err != nil {
			t.Fatal(err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		counted = map[int]int{}
		for _, m := range families[traffic.Requests].GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			code, _ := strconv.Atoi(labels["response_code"])
			delete(labels, "response_code")
			if want := map[string]string{
				"source_namespace": "shop", "source_kind": "Workload", "source_name": "buyer",
				"destination_namespace": "shop", "destination_kind": "Workload", "destination_name": "store",
			}; !maps.Equal(labels, want) {
				t.Fatalf("labels %v, want %v", labels, want)
			}
			counted[code] += int(m.GetCounter().GetValue())
		}
		durations := families[traffic.Duration].GetMetric()
		return maps.Equal(counted, a.codes) && len(durations) == 1 && int(durations[0].GetHistogram().GetSampleCount()) == 200
	})
	moved(t, c, a)
	lines := bytes.Count(text(t, c), []byte("\nosm_")) + bytes.Count(text(t, c), []byte("\nwasmesh_re"))
	t.Logf("one edge costs %d series and %d bytes of a scrape", lines, len(text(t, c)))
	if lines > 16 || len(text(t, c)) > 5<<10 {
		t.Errorf("one edge costs %d series and %d bytes of a scrape", lines, len(text(t, c)))
	}
}

// moved holds the bytes that the sidecar counted against those of the bodies: the rest
// are headers.
func moved(t *testing.T, c *caller, a *application) {
	t.Helper()
	got, err := c.Stats(t.Context(), store, `_bytes_total`)
	if err != nil {
		t.Fatal(err)
	}
	edge := func(metric string) string {
		workload := func(name string) identity.Workload {
			return identity.Workload{Namespace: "shop", Kind: "Workload", Name: name}
		}
		return "wasmcustom." + traffic.EdgeSeries(metric, workload("buyer"), workload("store"))
	}
	const calls = 200
	for metric, body := range map[string]int{traffic.RequestBytes: a.received, traffic.ResponseBytes: a.sent} {
		headers := (int(got[edge(metric)]) - body) / calls
		t.Logf("%s: %d, of it %d a request are headers", metric, got[edge(metric)], headers)
		if headers < 20 || headers > 600 {
			t.Errorf("%s: %v, and the application had %d bytes", metric, got, body)
		}
	}
}

func text(t *testing.T, c *caller) []byte {
	t.Helper()
	body, err := c.Admin(store).Get(t.Context(), "/stats/prometheus?filter=wasmcustom.(osm|wasmesh_re)")
	if err != nil {
		t.Fatal(err)
	}
	return body
}
