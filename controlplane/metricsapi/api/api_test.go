package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	metrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// recorded is a source that knows one scrape of one sidecar, or fails.
type recorded struct {
	window *metricsapi.Window
	fails  func(context.Context) error
	asked  chan api.Asked
}

func (r *recorded) Traffic(ctx context.Context, a api.Asked) (metricsapi.Traffic, error) {
	select {
	case r.asked <- a:
	default:
	}
	if r.fails != nil {
		return metricsapi.Traffic{}, r.fails(ctx)
	}
	return r.window.Traffic(a.Window, time.Now()), nil
}

func (r *recorded) Bounds() (time.Duration, time.Duration) { return time.Second, 5 * time.Minute }
func (r *recorded) String() string                         { return "the record" }

func fresh(t *testing.T) *recorded {
	t.Helper()
	text, err := os.ReadFile("../testdata/bookstore-v1.prom")
	if err != nil {
		t.Fatal(err)
	}
	scrape, err := metricsapi.ReadScrape(text)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{window: metricsapi.NewWindow(5*time.Minute, time.Second), asked: make(chan api.Asked, 1)}
	r.window.Add(metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: "store-v1", Pod: "store-v1-a"}, scrape, time.Now())
	return r
}

// shop has two deployments with a pod each, and a split among their Services.
func shop() *metricsapi.Mesh {
	objects, s := smi.Objects{}, &mesh.Snapshot{}
	yes := true
	for _, name := range []string{"buyer", "store-v1"} {
		objects.Pods = append(objects.Pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name + "-a", Labels: map[string]string{"app": name, "pod-template-hash": "1"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: name + "-1", Controller: &yes}},
		}})
		s.Workloads = append(s.Workloads, mesh.Workload{Name: mesh.Name{Namespace: "shop", Name: name + "-a"}})
	}
	return metricsapi.MeshOf(objects, s)
}

func serve(t *testing.T, source api.Source, m *metricsapi.Mesh) string {
	t.Helper()
	server := httptest.NewServer(api.Handler(api.Options{
		Mesh: func() *metricsapi.Mesh { return m }, Source: source, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// get returns the answer, its body read.
func get(t *testing.T, method, url, accept string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

const base = "/apis/metrics.smi-spec.io/v1alpha1"

// TestPaths: what each answers, and what it asks the source.
func TestPaths(t *testing.T) {
	for path, c := range map[string]struct {
		kind  string
		names []string
		asked api.Asked
	}{
		"/namespaces/shop/deployments/store-v1?t=1m":  {"TrafficMetrics", []string{"store-v1"}, api.Asked{Window: time.Minute, Namespace: "shop"}},
		"/namespaces/shop/deployments/store-v1/":      {"TrafficMetrics", []string{"store-v1"}, api.Asked{Window: 30 * time.Second, Namespace: "shop"}},
		"/namespaces/shop/deployments":                {"TrafficMetricsList", []string{"buyer", "store-v1"}, api.Asked{Window: 30 * time.Second, Namespace: "shop"}},
		"/deployments?limit=500":                      {"TrafficMetricsList", []string{"buyer", "store-v1"}, api.Asked{Window: 30 * time.Second}},
		"/pods?labelSelector=app%3Dbuyer":             {"TrafficMetricsList", []string{"buyer-a"}, api.Asked{Window: 30 * time.Second, Pods: true}},
		"/pods?labelSelector=app%21%3Dbuyer":          {"TrafficMetricsList", []string{"store-v1-a"}, api.Asked{Window: 30 * time.Second, Pods: true}},
		"/pods?fieldSelector=metadata.name%3Dbuyer-a": {"TrafficMetricsList", []string{"buyer-a"}, api.Asked{Window: 30 * time.Second, Pods: true}},
		"/namespaces":            {"TrafficMetricsList", []string{"shop"}, api.Asked{Window: 30 * time.Second}},
		"/namespaces/shop":       {"TrafficMetrics", []string{"shop"}, api.Asked{Window: 30 * time.Second, Namespace: "shop"}},
		"/namespaces/shop/edges": {"TrafficMetricsList", []string{"shop", "shop", "shop"}, api.Asked{Window: 30 * time.Second, Namespace: "shop", Out: true}},
		"/namespaces/shop/deployments/buyer/edges?watch=0": {"TrafficMetricsList", []string{"buyer"}, api.Asked{Window: 30 * time.Second, Namespace: "shop", Out: true}},
	} {
		source := fresh(t)
		response, body := get(t, "GET", serve(t, source, shop())+base+path, "")
		var list metrics.TrafficMetricsList
		if response.StatusCode != 200 || json.Unmarshal([]byte(body), &list) != nil || list.Kind != c.kind || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s", path, response.Status, body)
			continue
		}
		var names []string
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		if c.kind == "TrafficMetrics" {
			var item metrics.TrafficMetrics
			if err := json.Unmarshal([]byte(body), &item); err != nil {
				t.Error(err)
			}
			names = []string{item.Name}
		}
		if asked := <-source.asked; !reflect.DeepEqual(names, c.names) || asked != c.asked {
			t.Errorf("%s: names %v, asked %+v", path, names, asked)
		}
	}
}

// TestNothingToAsk answers an empty list without a source.
func TestNothingToAsk(t *testing.T) {
	source := fresh(t)
	source.fails = func(context.Context) error { return errors.New("it was asked") }
	for _, path := range []string{"/namespaces/elsewhere/pods", "/jobs", "/trafficsplits", "/pods?labelSelector=app=none"} {
		if response, body := get(t, "GET", serve(t, source, shop())+base+path, ""); response.StatusCode != 200 || !strings.Contains(body, `"items":[]`) {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		method, path string
		code         int
		reason       metav1.StatusReason
	}{
		{"GET", base + "/nodes", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/namespaces", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/deployments/absent", 404, "NotFound"},
		{"GET", base + "/namespaces/elsewhere/deployments/store-v1", 404, "NotFound"},
		{"GET", base + "/namespaces//deployments/store-v1", 404, "NotFound"},
		{"GET", base + "/namespaces//deployments", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/%2e%2e/other/deployments", 404, "NotFound"},
		{"GET", base + "/deployments/store-v1", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/deployments/store-v1/more", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/deployments/store-v1/edges/more", 404, "NotFound"},
		{"GET", base + "/namespaces/shop/trafficsplits/x/edges", 404, "NotFound"},
		{"GET", "/", 404, "NotFound"}, {"GET", "/openapi/v2", 404, "NotFound"}, {"GET", "/apis/metrics.smi-spec.io/v1", 404, "NotFound"}, {"GET", "/apis/apps", 404, "NotFound"},
		{"GET", base + "/deployments?t=0s", 400, "BadRequest"}, {"GET", base + "/deployments?t=", 400, "BadRequest"}, {"GET", base + "/deployments?t=999ms", 400, "BadRequest"},
		{"GET", base + "/deployments?t=8760h", 400, "BadRequest"}, {"GET", base + "/deployments?t=9999999999h", 400, "BadRequest"}, {"GET", base + "/deployments?t=5m1s", 400, "BadRequest"},
		{"GET", base + "/deployments?labelSelector=%3D%3D%3D", 400, "BadRequest"}, {"GET", base + "/deployments?labelSelector=" + strings.Repeat("a", 5000), 400, "BadRequest"},
		{"GET", base + "/deployments?fieldSelector=spec.x%3Dy", 400, "BadRequest"},
		{"GET", base + "/deployments?watch=true", 405, "MethodNotAllowed"},
		{"POST", base + "/deployments", 405, "MethodNotAllowed"}, {"DELETE", base + "/namespaces/shop/pods/buyer-a", 405, "MethodNotAllowed"},
	} {
		response, body := get(t, c.method, serve(t, fresh(t), shop())+c.path, "")
		var s metav1.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || response.StatusCode != c.code || s.Reason != c.reason || int(s.Code) != c.code || s.Kind != "Status" || s.Message == "" {
			t.Errorf("%s %.80s: %s %.300s", c.method, c.path, response.Status, body)
		}
	}
	// Their twins.
	for _, path := range []string{"/deployments?t=1s", "/deployments?t=5m", "/deployments?watch=false", "/deployments?labelSelector=" + strings.Repeat("a", 60)} {
		if response, body := get(t, "GET", serve(t, fresh(t), shop())+base+path, ""); response.StatusCode != 200 {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
}

// TestSourceFails: each failure has its reason and says whose it is.
func TestSourceFails(t *testing.T) {
	for _, c := range []struct {
		fails  func(context.Context) error
		code   int
		reason metav1.StatusReason
	}{
		{func(context.Context) error { return errors.New("connection refused") }, 503, "ServiceUnavailable"},
		{func(context.Context) error { return context.DeadlineExceeded }, 504, "Timeout"},
	} {
		source := fresh(t)
		source.fails = c.fails
		response, body := get(t, "GET", serve(t, source, shop())+base+"/deployments", "")
		var s metav1.Status
		if err := json.Unmarshal([]byte(body), &s); err != nil || response.StatusCode != c.code || s.Reason != c.reason || !strings.Contains(s.Message, "the record") {
			t.Errorf("%s %s", response.Status, body)
		}
	}
	if response, body := get(t, "GET", serve(t, fresh(t), nil)+base+"/deployments", ""); response.StatusCode != 503 {
		t.Errorf("nothing is known yet: %s %s", response.Status, body)
	}
	// There may be edges of which nothing is known.
	blind := fresh(t)
	blind.window.Fail(metricsapi.Peer{Kind: "Job", Namespace: "shop", Name: "x", Pod: "x-1"}, "is out")
	if response, body := get(t, "GET", serve(t, blind, shop())+base+"/namespaces/shop/pods/buyer-a/edges", ""); !strings.Contains(body, `"items":[]`) || !strings.Contains(response.Header.Get("Warning"), "x-1 is out") {
		t.Errorf("%v %s", response.Header, body)
	}
	partial := fresh(t)
	partial.window.Fail(metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: "store-v1", Pod: "store-v1-a"}, "is out")
	url := serve(t, partial, shop())
	for path, want := range map[string]bool{"/namespaces/shop/deployments/store-v1": true, "/deployments": true, "/namespaces/shop/deployments/buyer/edges": true, "/namespaces/shop/deployments/buyer": false} {

		response, body := get(t, "GET", url+base+path, "")
		warned := strings.Contains(response.Header.Get("Warning"), "299 - \"partial: Pod shop/store-v1-a is out")
		if response.StatusCode != 200 || warned != want || strings.Contains(body, "wasmesh.io/partial") != want {
			t.Errorf("%s: %s %v %s", path, response.Status, response.Header, body)
		}
	}
}

// TestTooManyAtATime: those beyond are told to ask again, and others are answered
// afterwards.
func TestTooManyAtATime(t *testing.T) {
	source := fresh(t)
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	source.fails = func(context.Context) error { entered <- struct{}{}; <-release; return errors.New("late") }
	url := serve(t, source, shop())
	done := make(chan struct{})
	for range 16 {
		go func() {
			response, err := http.Get(url + base + "/deployments")
			if err == nil {
				response.Body.Close()
			}
			done <- struct{}{}
		}()
	}
	for range 16 {
		<-entered
	}
	response, body := get(t, "GET", url+base+"/deployments", "")
	if response.StatusCode != 429 || response.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %s", response.Status, body)
	}
	if response, _ := get(t, "GET", url+base, ""); response.StatusCode != 200 {
		t.Errorf("discovery: %s", response.Status)
	}
	close(release)
	for range 16 {
		<-done
	}
	if response, _ := get(t, "GET", url+base+"/deployments", ""); response.StatusCode != 503 {
		t.Errorf("afterwards: %s", response.Status)
	}
}

func TestDiscovery(t *testing.T) {
	url := serve(t, fresh(t), nil)
	for path, want := range map[string][]string{
		"/apis":                     {`"kind":"APIGroupList"`, `"groupVersion":"metrics.smi-spec.io/v1alpha1"`},
		"/apis/metrics.smi-spec.io": {`"kind":"APIGroup"`, `"preferredVersion":{"groupVersion":"metrics.smi-spec.io/v1alpha1"`},
		base:                        {`"kind":"APIResourceList"`, `{"name":"deployments","singularName":"deployment","namespaced":true,"kind":"TrafficMetrics","verbs":["get","list"]}`, `"name":"namespaces","singularName":"namespace","namespaced":false`},
	} {
		response, body := get(t, "GET", url+path, "application/json, */*")
		for _, part := range want {
			if response.StatusCode != 200 || !strings.Contains(body, part) {
				t.Errorf("%s: %s %s lacks %s", path, response.Status, body, part)
			}
		}
	}
	// For kubectl the last one stands for the kind.
	if _, body := get(t, "GET", url+base, ""); strings.LastIndex(body, `"name":`) != strings.Index(body, `"name":"deployments"`) {
		t.Errorf("%s", body)
	}
	// A server that knows the aggregated form asks for it, and then for the plain one.
	if response, _ := get(t, "GET", url+"/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"); response.StatusCode != 406 {
		t.Errorf("aggregated: %s", response.Status)
	}
}

func TestTable(t *testing.T) {
	const table = "application/json;as=Table;v=v1;g=meta.k8s.io"
	url := serve(t, fresh(t), shop())
	read := func(path, accept string) metav1.Table {
		response, body := get(t, "GET", url+base+path, accept)
		var out metav1.Table
		if err := json.Unmarshal([]byte(body), &out); err != nil || response.StatusCode != 200 || out.Kind != "Table" {
			t.Fatalf("%s: %s %v %s", path, response.Status, err, body)
		}
		return out
	}
	for path, want := range map[string][]any{
		"/namespaces/shop/deployments/store-v1":    {"store-v1", "Deployment", "", "91.43%", "3.50", "1.0ms", "7.5ms", "9.8ms", "30s", ""},
		"/namespaces/shop/deployments":             {"buyer", "Deployment", "", "-", "0.00", "-", "-", "-", "30s", ""},
		"/namespaces/shop/deployments/buyer/edges": {"buyer", "Deployment", "to shop/store-v1", "96.00%", "3.33", "1.0ms", "7.5ms", "9.8ms", "30s", ""},
	} {
		got := read(path, table+","+strings.Replace(table, "v=v1", "v=v1beta1", 1)+",application/json")
		if len(got.ColumnDefinitions) != len(want) || len(got.Rows) == 0 || !reflect.DeepEqual(got.Rows[0].Cells, want) {
			t.Errorf("%s: %+v", path, got)
		}
		if !strings.Contains(string(got.Rows[0].Object.Raw), `"kind":"PartialObjectMetadata"`) || !strings.Contains(string(got.Rows[0].Object.Raw), `"namespace":"shop"`) {
			t.Errorf("%s: %s", path, got.Rows[0].Object.Raw)
		}
	}
	for include, want := range map[string]string{"None": "", "Object": "success_count", "Metadata": "PartialObjectMetadata"} {
		if got := read("/deployments?includeObject="+include, table); !strings.Contains(string(got.Rows[0].Object.Raw), want) || (want == "") != (string(got.Rows[0].Object.Raw) == "null" || got.Rows[0].Object.Raw == nil) {
			t.Errorf("%s: %s", include, got.Rows[0].Object.Raw)
		}
	}
	if response, _ := get(t, "GET", url+base+"/deployments?includeObject=All", table); response.StatusCode != 400 {
		t.Errorf("includeObject=All: %s", response.Status)
	}
	for accept, code := range map[string]int{"application/vnd.kubernetes.protobuf": 406, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io": 406, "text/html;q=0.9, */*": 200, "application/vnd.kubernetes.protobuf, application/json": 200} {
		if response, body := get(t, "GET", url+base+"/deployments", accept); response.StatusCode != code || strings.Contains(body, `"Table"`) {
			t.Errorf("%s: %s", accept, response.Status)
		}
	}
}
