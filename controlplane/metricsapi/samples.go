package metricsapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	// MaxScrape is the longest scrape that is read, in bytes: 400 edges.
	MaxScrape = 4 << 20
	// MaxSeries is how many series one scrape may have.
	MaxSeries = 20_000
	// maxLine, in bytes, and maxLabels are what one line may have: the time to parse
	// one grows with the square of its labels.
	maxLine   = 4096
	maxLabels = 32
	// maxLabel is the longest value of a label: a Kubernetes name has 253 bytes.
	maxLabel = 253
)

// Uptime is Envoy's metric of how many seconds it has been running.
const Uptime = "envoy_server_uptime"

// series is one counter of a flow.
type series struct {
	// edge is source and destination, once for all series of all scrapes: a full
	// Window has 400,000 of them.
	edge unique.Handle[[2]Peer]
	// code is set for a count of requests; else it is the bucket with that bound.
	code  string
	bound float64
}

// Scrape is what one sidecar counted since it started.
type Scrape struct {
	values map[series]float64
	// Uptime is how long the sidecar has been running; 0: it does not say.
	Uptime time.Duration
}

// ReadScrape reads a sidecar's metrics in Prometheus's text format. What is no
// metric of traffic is passed over; what is one and is malformed is an error.
func ReadScrape(text []byte) (Scrape, error) {
	if len(text) > MaxScrape {
		return Scrape{}, fmt.Errorf("the scrape has %d bytes, and %d are read", len(text), MaxScrape)
	}
	for line := range bytes.Lines(text) {
		if len(line) > maxLine || bytes.Count(line, []byte("=")) > maxLabels {
			return Scrape{}, fmt.Errorf("the scrape has a line of more than %d bytes or %d labels", maxLine, maxLabels)
		}
	}
	families, err := parse(text)
	if err != nil {
		return Scrape{}, fmt.Errorf("the scrape is not in Prometheus's text format: %w", err)
	}
	s := Scrape{values: map[series]float64{}}
	if up := families[Uptime].GetMetric(); len(up) == 1 {
		seconds := up[0].GetGauge().GetValue() + up[0].GetUntyped().GetValue()
		if seconds > 0 && seconds < math.MaxInt32 {
			s.Uptime = time.Duration(seconds * float64(time.Second))
		}
	}
	for _, m := range families[Requests].GetMetric() {
		if err := s.count(m); err != nil {
			return Scrape{}, err
		}
	}
	for _, m := range families[Durations].GetMetric() {
		if err := s.buckets(m); err != nil {
			return Scrape{}, err
		}
	}
	return s, nil
}

// parse has the library read a text. It panics at some that are malformed, such as
// "{}" behind a TYPE (v0.70), and a sidecar must not end the control plane.
func parse(text []byte) (families map[string]*dto.MetricFamily, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			families, err = nil, fmt.Errorf("the parser failed: %v", failed)
		}
	}()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(bytes.NewReader(text))
}

func (s Scrape) count(m *dto.Metric) error {
	labels := labelsOf(m)
	k, err := readSeries(labels)
	if err != nil {
		return err
	}
	k.code = labels[LabelCode]
	if len(k.code) == 0 || len(k.code) > 3 {
		return fmt.Errorf("%s has the %s %.20q", Requests, LabelCode, k.code)
	}
	return s.put(k, m.GetCounter().GetValue()+m.GetUntyped().GetValue())
}

func (s Scrape) buckets(m *dto.Metric) error {
	k, err := readSeries(labelsOf(m))
	if err != nil {
		return err
	}
	if m.GetHistogram() == nil {
		return fmt.Errorf("%s is not a histogram", Durations)
	}
	infinite := false
	for _, b := range m.GetHistogram().GetBucket() {
		k.bound = b.GetUpperBound()
		infinite = infinite || math.IsInf(k.bound, 1)
		if err := s.put(k, float64(b.GetCumulativeCount())); err != nil {
			return err
		}
	}
	if !infinite {
		k.bound = math.Inf(1)
		return s.put(k, float64(m.GetHistogram().GetSampleCount()))
	}
	return nil
}

func (s Scrape) put(k series, v float64) error {
	if math.IsNaN(k.bound) || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		edge := k.edge.Value()
		return fmt.Errorf("%s to %s: %v is no count", edge[0].Name, edge[1].Name, v)
	}
	if _, there := s.values[k]; !there && len(s.values) == MaxSeries {
		return fmt.Errorf("the scrape has more than %d series of traffic", MaxSeries)
	}
	s.values[k] += v
	return nil
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := make(map[string]string, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return labels
}

// readSeries reads both peers.
func readSeries(labels map[string]string) (k series, err error) {
	var edge [2]Peer
	if edge[0], err = readPeer(labels, sourceLabel); err != nil {
		return k, err
	}
	edge[1], err = readPeer(labels, destinationLabel)
	k.edge = unique.Make(edge)
	return k, err
}

func readPeer(labels map[string]string, side string) (Peer, error) {
	p := Peer{Kind: labels[side+"kind"], Namespace: labels[side+"namespace"], Name: labels[side+"name"], Pod: labels[side+"pod"]}
	if p.Kind == Unknown || p.Namespace == Unknown && p.Name == Unknown {
		return Peer{Kind: Unknown, Name: Unknown}, nil
	}
	if p.IsAnybody() {
		return Peer{Kind: p.Kind, Name: p.Kind}, nil
	}
	if p.Kind == "" || p.Namespace == "" || p.Name == "" {
		return Peer{}, fmt.Errorf("a series lacks the kind, namespace or name of its %s", strings.TrimSuffix(side, "_"))
	}
	if max(len(p.Kind), len(p.Namespace), len(p.Name), len(p.Pod)) > maxLabel {
		return Peer{}, errors.New("a label is longer than any name of Kubernetes")
	}
	return p, nil
}

// flows collects series of which something is known.
type flows map[[2]Peer]*Flow

func (f flows) add(edge [2]Peer, k series, n float64) {
	if n <= 0 || math.IsNaN(n) || math.IsInf(n, 0) {
		return
	}
	one := f[edge]
	if one == nil {
		one = &Flow{Source: edge[0], Destination: edge[1], Latency: Histogram{}}
		f[edge] = one
	}
	switch {
	case k.code == "":
		one.Latency.add(k.bound, n)
	case Succeeded(k.code):
		one.Success += n
	default:
		one.Failure += n
	}
}

// list is sorted by destination, then by source.
func (f flows) list() []Flow {
	out := make([]Flow, 0, len(f))
	for _, one := range f {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b Flow) int {
		return cmp.Or(a.Destination.compare(b.Destination), a.Source.compare(b.Source))
	})
	return out
}

func (p Peer) compare(o Peer) int {
	return cmp.Or(strings.Compare(p.Namespace, o.Namespace), strings.Compare(p.Kind, o.Kind),
		strings.Compare(p.Name, o.Name), strings.Compare(p.Pod, o.Pod))
}

// parseBound reads the upper bound of a bucket as Prometheus writes it.
func parseBound(text string) (float64, error) {
	bound, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(bound) {
		return 0, fmt.Errorf("%.20q is no bound of a bucket", text)
	}
	return bound, nil
}
