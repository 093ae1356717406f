package show_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/show"
)

func at(name, pod string) metricsapi.Peer {
	return metricsapi.Peer{Kind: "Deployment", Namespace: "shop", Name: name, Pod: pod}
}

func traffic() metricsapi.Traffic {
	fast := metricsapi.Histogram{1: 10, 5: 10, math.Inf(1): 10}
	slow := metricsapi.Histogram{1: 0, 5: 10, math.Inf(1): 10}
	return metricsapi.Traffic{Flows: []metricsapi.Flow{
		{Source: at("buyer", ""), Destination: at("store", "a"), Success: 9, Failure: 1, Latency: fast},
		{Source: at("buyer", ""), Destination: at("store", "b"), Success: 10, Latency: slow},
		{Source: metricsapi.Peer{Kind: metricsapi.Unknown, Name: metricsapi.Unknown}, Destination: at("store", "a"), Failure: 20},
		{Source: at("store", ""), Destination: at("depot", "x"), Success: 5},
		{Source: at("idle", ""), Destination: at("depot", "x")},
	}}
}

func TestTable(t *testing.T) {
	edges := show.Edges(traffic(), 10*time.Second)
	want := "FROM                   TO                      SUCCESS        RPS        P50        P90        P99\n" +
		"shop/deployment/buyer  shop/deployment/store    95.00%       2.00      1.0ms      4.2ms      4.9ms\n" +
		"shop/deployment/store  shop/deployment/depot   100.00%       0.50      0.0ms      0.0ms      0.0ms\n" +
		"unknown                shop/deployment/store     0.00%       2.00      0.0ms      0.0ms      0.0ms\n"
	if got := show.Table(edges); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	workloads := show.Workloads(traffic(), 10*time.Second)
	if len(workloads) != 2 || workloads[1].To != "shop/deployment/store" || workloads[1].Requests != 40 || workloads[1].Success != 19.0/40 {
		t.Errorf("%+v", workloads)
	}
	for by, first := range map[string]string{"name": "shop/deployment/buyer", "success": "unknown", "rps": "shop/deployment/buyer", "p99": "shop/deployment/buyer"} {
		if err := show.Sort(edges, by); err != nil || edges[0].From != first {
			t.Errorf("by %s: %v %+v", by, err, edges)
		}
	}
	if err := show.Sort(edges, "colour"); err == nil {
		t.Error("sorted by colour")
	}
}

func TestGraph(t *testing.T) {
	edges := show.Edges(traffic(), 10*time.Second)[:2]
	for format, want := range map[string]string{
		"text":    "shop/deployment/buyer\n  -> shop/deployment/store  2.00/s 95.00%\nshop/deployment/store\n  -> shop/deployment/depot  0.50/s 100.00%\n",
		"dot":     "digraph mesh {\n  rankdir=LR;\n  \"shop/deployment/buyer\" -> \"shop/deployment/store\" [label=\"2.00/s 95.00%\"];\n  \"shop/deployment/store\" -> \"shop/deployment/depot\" [label=\"0.50/s 100.00%\"];\n}\n",
		"mermaid": "graph LR\n  n0[\"shop/deployment/buyer\"]\n  n1[\"shop/deployment/store\"]\n  n2[\"shop/deployment/depot\"]\n  n0 -->|\"2.00/s 95.00%\"| n1\n  n1 -->|\"0.50/s 100.00%\"| n2\n",
	} {
		if got, err := show.Graph(edges, format); err != nil || got != want {
			t.Errorf("%s: %v\n%s", format, err, got)
		}
	}
	var read struct{ Edges []show.Row }
	if got, err := show.Graph(edges, "json"); err != nil || json.Unmarshal([]byte(got), &read) != nil || len(read.Edges) != 2 || read.Edges[0] != edges[0] {
		t.Errorf("json: %v %+v", err, read)
	}
	if got, err := show.Graph(nil, "json"); err != nil || !strings.Contains(got, `"edges": []`) {
		t.Errorf("nothing: %v %s", err, got)
	}
	if _, err := show.Graph(edges, "png"); err == nil {
		t.Error("a picture")
	}
}

// TestWickedNames come from sidecars, which may be anybody's.
func TestWickedNames(t *testing.T) {
	wicked := "x\"];\n\x1b[2J\\<script>`#"
	edges := []show.Row{{From: wicked, To: wicked, Requests: 1}}
	for _, format := range []string{"text", "dot", "mermaid", "json"} {
		got, err := show.Graph(edges, format)
		if err != nil || strings.Contains(got, "\x1b") {
			t.Errorf("%s: %v %q", format, err, got)
		}
		if lines := map[string]int{"text": 2, "dot": 4, "mermaid": 3}[format]; lines > 0 && strings.Count(got, "\n") != lines {
			t.Errorf("%s: %q", format, got)
		}
		if format == "mermaid" && strings.ContainsAny(got, "<`") || format == "dot" && strings.Contains(got, `x"`) {
			t.Errorf("%s: %q", format, got)
		}
	}
	if got := show.Table(edges); strings.Count(got, "\n") != 2 || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
