package controlplane

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

func TestTracingIsReadOrRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "roots.pem")
	for _, tt := range []struct {
		given Tracing
		want  xds.Tracing
		says  string
	}{
		{Tracing{Percent: 1}, xds.Tracing{}, ""},
		{Tracing{Collector: "otel:4317", Percent: 1}, xds.Tracing{Host: "otel", Port: 4317, Percent: 1}, ""},
		{Tracing{Collector: "[::1]:4317"}, xds.Tracing{Host: "::1", Port: 4317}, ""},
		{Tracing{Collector: "otel"}, xds.Tracing{}, "host:port"},
		{Tracing{Collector: ":4317"}, xds.Tracing{}, "host:port"},
		{Tracing{Collector: "otel:0"}, xds.Tracing{}, "host:port"},
		{Tracing{Collector: "otel:65536"}, xds.Tracing{}, "host:port"},
		{Tracing{Collector: "otel:4317", Percent: 101}, xds.Tracing{}, "101"},
		{Tracing{Collector: "otel:4317", Percent: math.NaN()}, xds.Tracing{}, "NaN"},
		{Tracing{Collector: "otel:4317", Roots: missing}, xds.Tracing{}, missing},
	} {
		got, err := tt.given.settings()
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) || got != tt.want {
			t.Errorf("%+v: %+v %v", tt.given, got, err)
		}
	}
}
