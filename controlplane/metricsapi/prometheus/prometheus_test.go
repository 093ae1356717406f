package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/prometheus"
	real "github.com/wasmesh/wasmesh/tests/prometheus"
)

var (
	bounds = []float64{1, 5, 10, 50, 100, 500, 1000, 5000, math.Inf(1)}
	asked  = api.Asked{Window: 4 * time.Second, Namespace: "shop", Out: true, Pods: true}
)

// sidecar is a target that Prometheus scrapes: what an Envoy would show, of made-up
// traffic that ends when it is told to.
type sidecar struct {
	requests [2]atomic.Int64 // answered 200, 503
	buckets  [9]atomic.Int64
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	labels := `source_namespace="shop",source_kind="Deployment",source_name="buyer",destination_namespace="shop",destination_kind="Deployment",destination_name="store"`
	fmt.Fprintln(w, "# TYPE osm_request_total counter")
	for i, code := range []string{"200", "503"} {
		fmt.Fprintf(w, "osm_request_total{%s,response_code=%q} %d\n", labels, code, s.requests[i].Load())
	}
	fmt.Fprintln(w, "# TYPE osm_request_duration_ms histogram")
	for i, b := range bounds {
		fmt.Fprintf(w, "osm_request_duration_ms_bucket{%s,le=%q} %d\n", labels, bound(b), s.buckets[i].Load())
	}
	fmt.Fprintf(w, "osm_request_duration_ms_sum{%s} 1\nosm_request_duration_ms_count{%s} %d\n", labels, labels, s.buckets[8].Load())
}

func bound(b float64) string {
	if math.IsInf(b, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(b, 'f', -1, 64)
}

// serve counts a request.
func (s *sidecar) serve(failed int, took float64) {
	s.requests[failed].Add(1)
	for i, b := range bounds {
		if took <= b {
			s.buckets[i].Add(1)
		}
	}
}

// TestRealServer runs Debian's Prometheus on a sidecar: counts are those of the
// sidecar but for what Prometheus extrapolates, and quantiles are its own.
func TestRealServer(t *testing.T) {
	s := &sidecar{}
	target := httptest.NewServer(s)
	defer target.Close()
	base := run(t, target.Listener.Addr().String())
	source, err := prometheus.New(base)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the idle sidecar is scraped", func() error {
		if n := value(query(t, base, "max(count_over_time(osm_request_total[1m]))")); n == "" || n == "1" {
			return fmt.Errorf("%s samples", n)
		}
		return nil
	})
	if traffic, err := source.Traffic(t.Context(), asked); err != nil || len(traffic.Flows) != 0 || traffic.Lacks() != "" {
		t.Errorf("without traffic: %v %+v", err, traffic)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		s.serve(min(1, r.IntN(10)/9), math.Exp(r.Float64()*7))
	}
	var flow metricsapi.Flow
	await(t, "the traffic is there", func() error {
		traffic, err := source.Traffic(t.Context(), asked)
		if err != nil || len(traffic.Flows) != 1 {
			return fmt.Errorf("%v %+v", err, traffic)
		}
		flow = traffic.Flows[0]
		if all := flow.Success + flow.Failure; math.Abs(all-2000) > 400 {
			return fmt.Errorf("%v requests of 2000", all)
		}
		return nil
	})
	if flow.Source.Name != "buyer" || flow.Destination.Pod != "store-6d4-a" || flow.Failure < 100 || flow.Failure > 300 {
		t.Errorf("%+v", flow)
	}
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
		quantileAsServer(t, base, q)
	}
}

// quantileAsServer asks the server to work out a quantile of buckets and compares.
func quantileAsServer(t *testing.T, base string, q float64) {
	t.Helper()
	sum := "sum by (le) (osm_request_duration_ms_bucket)"
	h := metricsapi.Histogram{}
	for i := range bounds {
		h[bounds[i]] = number(t, query(t, base, fmt.Sprintf("sum(osm_request_duration_ms_bucket{le=%q})", bound(bounds[i]))))
	}
	want := number(t, query(t, base, fmt.Sprintf("histogram_quantile(%v, %s)", q, sum)))
	if got, ok := h.Quantile(q); !ok || math.Abs(got-want) > 1e-6*max(1, want) {
		t.Errorf("quantile %v is %v, the server says %v", q, got, want)
	}
}

// query asks the server itself.
func query(t *testing.T, base, text string) string {
	t.Helper()
	response, err := http.PostForm(base+"/api/v1/query", url.Values{"query": {text}})
	if err != nil {
		return err.Error() // it may not have started yet
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// value is the one value of an answer, empty if there is none.
func value(answer string) string {
	_, after, _ := strings.Cut(answer, `"value":[`)
	_, value, _ := strings.Cut(after, `,"`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

func number(t *testing.T, answer string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(value(answer), 64)
	if err != nil {
		t.Fatalf("%s", answer)
	}
	return n
}

// run starts the server, which scrapes a target as that of a pod.
func run(t *testing.T, target string) string {
	t.Helper()
	return real.Start(t, `
global: {scrape_interval: 500ms, scrape_timeout: 400ms}
scrape_configs:
- job_name: sidecars
  static_configs: [{targets: ["`+target+`"], labels: {pod: store-6d4-a}}]
`).URL()
}

func await(t *testing.T, what string, try func() error) {
	t.Helper()
	err := try()
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); err = try() {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestWhatGoesWrong beside a server that answers: each is an error that says what.
func TestWhatGoesWrong(t *testing.T) {
	good := `{"status":"success","data":{"resultType":"vector","result":[]}}`
	release := make(chan struct{})
	defer close(release)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"good":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, good) }, ""},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "not Prometheus's"},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://192.0.2.1/")
			w.WriteHeader(302)
		}, "302"},
		"not found": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "is it a Prometheus"},
		"no body":   {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "10") }, "EOF"},
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(422)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"too many samples"}`)
		}, "too many samples"},
		"it hangs": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}, "deadline"},
		"slow bytes": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, good[:20])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "deadline"},
		"endless": {func(w http.ResponseWriter, r *http.Request) { endless(w) }, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "endless" && testing.Short() {
				return
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm() // only then does a server notice that its caller went away
				c.answer(w, r)
			}))
			defer server.Close()
			source, err := prometheus.New(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			limit := 300 * time.Millisecond
			if name == "endless" {
				limit = 20 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err = source.Traffic(ctx, asked)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if (c.want == "deadline") != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is taken for the wrong thing", err)
			}
		})
	}
	source, err := prometheus.New("http://user:secret@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Traffic(t.Context(), asked); err == nil || strings.Contains(err.Error()+source.String(), "secret") {
		t.Errorf("nobody listens: %v", err)
	}
}

// endless sends more than is read.
func endless(w http.ResponseWriter) {
	part := []byte(strings.Repeat(" ", 1<<20))
	for range metricsapi.MaxAnswer>>20 + 2 {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

func TestAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"http://prometheus:9090": true, "https://x/prefix/": true, "": false, "prometheus:9090": false, "ftp://x": false, "http://": false, "http://x?y": false,
	} {
		if _, err := prometheus.New(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
