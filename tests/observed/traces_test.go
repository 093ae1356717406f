package observed

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	collectorIP      = "127.51.0.9"
	collectorAddress = collectorIP + ":14317"
)

// TestTraces: one request is one trace, told by the sidecars of both ends, over TLS.
func TestTraces(t *testing.T) {
	proof, roots := proofFor(t, collectorIP)
	c := collect(t, collectorAddress, proof)
	n := start(t, func(o *rig.Options) {
		o.AccessLog = 100
		o.Tracing = controlplane.Tracing{Collector: collectorAddress, Roots: roots, Percent: 100}
	}, buyer, store)
	to := n.address(buyer, store, 14101)
	const id = "0f2e5b3c-1111-4222-8333-444455556666" // a form in which Envoy would write
	if status := call(t, to, "/open/a?secret=1", "X-Request-Id", id); status != 200 {
		t.Fatal(status)
	}
	n.await(t, "two spans", func() bool { return len(c.received("buyer")) == 1 && len(c.received("store")) == 1 })
	from, at := c.received("buyer")[0], c.received("store")[0]
	if !bytes.Equal(from.TraceId, at.TraceId) || !bytes.Equal(at.ParentSpanId, from.SpanId) || len(from.ParentSpanId) != 0 || len(from.TraceId) != 16 {
		t.Errorf("not one trace: %v\n%v", from, at)
	}
	if from.Name != "shop/store:14101" || at.Name != "shop/store" || from.Kind != tracev1.Span_SPAN_KIND_CLIENT || at.Kind != tracev1.Span_SPAN_KIND_SERVER {
		t.Errorf("spans are %s %v and %s %v", from.Name, from.Kind, at.Name, at.Kind)
	}
	contains(t, from.resource, "service.namespace", "shop", "service.instance.id", "buyer")
	contains(t, at.resource, "service.namespace", "shop", "service.instance.id", "store")
	contains(t, from.attributes, "http.url", "/open/a", "http.status_code", "200",
		"destination.identity", "spiffe://observed.test/ns/shop/sa/store", "destination.workload", "store.workload.shop.peer.wasmesh.internal")
	contains(t, at.attributes, "http.url", "/open/a", "http.status_code", "200", "http.method", "GET",
		"source.identity", "spiffe://observed.test/ns/shop/sa/buyer", "source.workload", "buyer.workload.shop.peer.wasmesh.internal")
	for _, s := range []span{from, at} {
		if strings.Contains(s.String(), "secret") {
			t.Errorf("the query is told: %v", s)
		}
	}
	n.apps.mu.Lock()
	headers := n.apps.headers[0]
	n.apps.mu.Unlock()
	if want := "00-" + hex.EncodeToString(at.TraceId) + "-" + hex.EncodeToString(at.SpanId) + "-01"; headers.Get("traceparent") != want {
		t.Errorf("the application sees %v, want traceparent %s", headers, want)
	}
	if headers.Get("X-Request-Id") != id {
		t.Errorf("the request's id was changed: %v", headers)
	}
	for _, name := range []string{"buyer", "store"} {
		w := buyer
		if name == "store" {
			w = store
		}
		if e := n.logged(t, w, 1)[0]; e["trace_id"] != hex.EncodeToString(at.TraceId) {
			t.Errorf("%s logs %v, want the trace %x", w, e, at.TraceId)
		}
	}
	t.Run("refused", func(t *testing.T) {
		call(t, to, "/closed")
		n.await(t, "the spans of a refusal", func() bool { return len(c.received("buyer")) == 2 && len(c.received("store")) == 2 })
		contains(t, c.received("store")[1].attributes, "http.status_code", "403")
	})
	t.Run("the application decides", func(t *testing.T) {
		call(t, to, "/open/b", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		n.await(t, "the spans of its trace", func() bool { return len(c.received("store")) == 3 })
		if s := c.received("store")[2]; hex.EncodeToString(s.TraceId) != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("its trace is %x", s.TraceId)
		}
		call(t, to, "/open/c", "traceparent", "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00")
		time.Sleep(2500 * time.Millisecond) // sidecars keep spans for one
		if got := len(c.received("store")); got != 3 {
			t.Errorf("a trace that its application does not want is told: %d", got)
		}
	})
}

func contains(t *testing.T, got map[string]string, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got[pairs[i]] != pairs[i+1] {
			t.Errorf("%s is %q, want %q, in %v", pairs[i], got[pairs[i]], pairs[i+1], got)
		}
	}
}

// TestNoCollector: nobody is at the collector's address, and then somebody who takes
// connections and never says a word. No request notices.
func TestNoCollector(t *testing.T) {
	n := start(t, func(o *rig.Options) {
		o.Tracing = controlplane.Tracing{Collector: collectorAddress, Percent: 100}
	}, buyer, store)
	const requests = 500
	to := n.address(buyer, store, 14101)
	failed, began := 0, time.Now()
	for i := range 2 * requests {
		if i == requests {
			silent := listen(t, collectorAddress)
			t.Cleanup(func() { silent.Close() })
			time.Sleep(time.Second) // for sidecars to connect again
		}
		if call(t, to, "/open") != 200 {
			failed++
		}
	}
	if failed > 0 || n.apps.served() != 2*requests {
		t.Errorf("%d of %d requests failed; %d reached the application", failed, 2*requests, n.apps.served())
	}
	stats, err := n.Stats(t.Context(), buyer, "^tracing.opentelemetry.spans_sent$|^cluster.tracing.upstream_cx_total$")
	if err != nil || stats["cluster.tracing.upstream_cx_total"] == 0 {
		t.Errorf("the sidecar never tried: %v %v", stats, err)
	}
	t.Logf("%d requests took %v; %v", 2*requests, time.Since(began).Round(time.Millisecond), stats)
}
