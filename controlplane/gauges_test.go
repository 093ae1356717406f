package controlplane

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// TestGauges reads what a Prometheus would.
func TestGauges(t *testing.T) {
	at := time.Unix(2000, 0)
	refusal := func(typeURL string) serve.Refusal { return serve.Refusal{Type: typeURL} }
	for name, c := range map[string]struct {
		proxies []serve.Proxy
		want    map[string]float64
	}{
		"nobody": {nil, map[string]float64{gaugeProxies: 0, gaugeUnsettled: 0, gaugeProblems: 3, gaugeSignerEnd: 9000}},
		"some": {[]serve.Proxy{
			{Settled: true, Expires: at.Add(time.Minute)},
			{Expires: at, Refusals: []serve.Refusal{refusal(xds.FilterType), refusal("type.example/x.Y")}},
			{Expires: at.Add(time.Hour), Refusals: []serve.Refusal{refusal(xds.FilterType)}},
		}, map[string]float64{
			gaugeProxies: 3, gaugeUnsettled: 2, gaugeProblems: 3, gaugeSignerEnd: 9000, gaugeLeafEnd: 2000,
			gaugeRefusing + "/TypedExtensionConfig": 2, gaugeRefusing + "/other": 1,
		}},
	} {
		var text strings.Builder
		if err := (gauges{c.proxies, 3, time.Unix(9000, 0)}).Write(&text); err != nil {
			t.Fatal(err)
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text.String()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text.String())
		}
		got := map[string]float64{}
		for metric, family := range families {
			for _, m := range family.GetMetric() {
				if labels := m.GetLabel(); len(labels) == 0 {
					got[metric] = m.GetGauge().GetValue()
				} else if v := m.GetGauge().GetValue(); v != 0 {
					got[metric+"/"+labels[0].GetValue()] = v
				}
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for metric, want := range c.want {
			if got[metric] != want {
				t.Errorf("%s: %s is %v, want %v", name, metric, got[metric], want)
			}
		}
	}
	for _, typeURL := range []string{xds.ClusterType, xds.EndpointType, xds.ListenerType, xds.RouteType, xds.RuntimeType, xds.FilterType} {
		if kindOf(typeURL) == "other" {
			t.Errorf("%s has no kind", typeURL)
		}
	}
}
