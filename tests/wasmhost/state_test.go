package wasmhost

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// What guests counted in TestHTTP and elsewhere stands in both processes.
func TestMetrics(t *testing.T) {
	compare(t, visit{door: "http", do: "metric counter 3;metric gauge 5;metric histogram 7;metric histogram 8"})
	var want []string
	for _, m := range here.proxy.Metrics() {
		if m.Kind == wasmtest.Histogram {
			want = append(want, fmt.Sprintf("%s_count %d", promName(m.Name), len(m.Samples)))
			continue
		}
		want = append(want, fmt.Sprintf("%s %d", promName(m.Name), m.Value))
	}
	slices.Sort(want)
	if len(want) < 3 {
		t.Fatalf("only %v was counted", want)
	}
	var got []string
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := inEnvoy.get("/stats/prometheus?filter=wasmcustom")
		if err != nil {
			t.Fatal(err)
		}
		if got = metricLines(string(text)); slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("envoy has %v, wasmtest %v", got, want)
}

// promName is what Envoy makes of a custom metric's name for Prometheus.
func promName(name string) string {
	return strings.ReplaceAll(strings.TrimPrefix(name, "wasmcustom."), ".", "_")
}

// metricLines leaves out what Envoy makes of a histogram beside its count.
func metricLines(text string) []string {
	var lines []string
	for _, l := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(strings.ReplaceAll(l, "{}", ""), " ")
		if !ok || strings.HasPrefix(l, "#") || strings.Contains(name, "_bucket") || strings.HasSuffix(name, "_sum") {
			continue
		}
		lines = append(lines, name+" "+value)
	}
	slices.Sort(lines)
	return lines
}

// A queue that one VM registered is filled by another, and its owner hears of
// each item.
func TestQueueBetweenVMs(t *testing.T) {
	owner := doorNamed(t, "trace")
	compare(t, visit{door: owner.name, do: "queue register between"})
	since, from := inEnvoy.mark(), len(here.vms[owner.vm].Logs())
	compare(t, visit{door: "http", do: "queue resolve between;queue resolve between trace;queue put between one;queue put between two"})
	if err := here.vms[owner.vm].Advance(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	want := here.said(owner, from)
	var got []string
	for deadline := time.Now().Add(settleTimeout); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(poll) {
		got = inEnvoy.said(owner, since, false)
	}
	if len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("envoy's owner heard %q, ours %q", got, want)
	}
}

// A worker starts a plugin with the same callbacks and configurations.
func TestStart(t *testing.T) {
	for _, d := range doors {
		want := here.started[d.name]
		got := inEnvoy.said(d, 0, false)
		if len(want) != 2 || len(got) < 2 || !slices.Equal(got[:2], want) {
			t.Errorf("%s: envoy %q, wasmtest %q", d.name, got[:min(2, len(got))], want)
		}
	}
}
