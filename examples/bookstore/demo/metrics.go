package demo

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/filters/identity"
)

// Metric is one series of a sidecar.
type Metric struct {
	// Name is without the prefix that Envoy gives to what a module defines.
	Name   string
	Labels map[string]string
	Value  float64
}

// Peer names one of the two that a series is about, "source" or "destination", as
// people write a workload.
func (s Metric) Peer(side string) string {
	if name, ok := s.Labels[side]; ok {
		return name
	}
	return identity.Workload{Namespace: s.Labels[side+"_namespace"], Kind: s.Labels[side+"_kind"], Name: s.Labels[side+"_name"]}.String()
}

// Metrics are the series of one sidecar at one moment.
type Metrics []Metric

// Sum adds the counters of that name whose labels include all those given.
func (m Metrics) Sum(name string, labels map[string]string) int {
	var sum float64
	for _, s := range m {
		if s.Name == name && s.has(labels) {
			sum += s.Value
		}
	}
	return int(sum)
}

// Find returns the value of the first series of that name.
func (m Metrics) Find(name string) (float64, bool) {
	for _, s := range m {
		if s.Name == name {
			return s.Value, true
		}
	}
	return 0, false
}

func (s Metric) has(labels map[string]string) bool {
	for name, value := range labels {
		if s.Labels[name] != value {
			return false
		}
	}
	return true
}

// Sidecar is a running wasmesh-sidecar with its Envoy.
type Sidecar struct {
	Process *Process
	Admin   Socket
}

// Metrics reads the series whose names match a regular expression, as Envoy
// writes names.
func (s *Sidecar) Metrics(ctx context.Context, filter string) (Metrics, error) {
	body, err := s.Admin.Ask(ctx, http.MethodGet, "/stats/prometheus?filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Process.Name, err)
	}
	m, err := parseMetrics(string(body))
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", s.Process.Name, err)
	}
	return m, nil
}

// parseMetrics reads the Prometheus text format as far as Envoy uses it.
func parseMetrics(text string) (Metrics, error) {
	var out Metrics
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m, ok := parseMetric(line)
		if !ok {
			return nil, fmt.Errorf("the line %.200q is no series", line)
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMetric(line string) (Metric, bool) {
	end := strings.IndexAny(line, "{ ")
	if end <= 0 {
		return Metric{}, false
	}
	name, rest := line[:end], line[end:]
	m := Metric{Name: plainName(name), Labels: map[string]string{}}
	if rest[0] == '{' {
		labels, after, ok := parseLabels(rest[1:])
		if !ok {
			return Metric{}, false
		}
		maps.Copy(m.Labels, labels)
		rest = after
	}
	var err error
	m.Value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
	return m, err == nil
}

// plainName drops what Envoy puts before the name that was defined.
func plainName(name string) string {
	name = strings.TrimPrefix(name, "envoy_")
	return strings.TrimPrefix(name, "wasmcustom_")
}

// parseLabels reads name="value" pairs up to the closing brace.
func parseLabels(text string) (labels map[string]string, rest string, ok bool) {
	labels = map[string]string{}
	for {
		if after, closed := strings.CutPrefix(text, "}"); closed {
			return labels, after, true
		}
		name, after, found := strings.Cut(text, "=")
		if !found {
			return nil, "", false
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return nil, "", false
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, "", false
		}
		labels[strings.TrimSpace(name)] = value
		text = strings.TrimPrefix(after[len(quoted):], ",")
	}
}
