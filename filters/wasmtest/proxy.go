package wasmtest

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// MetricKind is what a metric counts.
type MetricKind uint32

// The kinds of metrics, numbered as on the wire.
const (
	Counter MetricKind = iota
	Gauge
	Histogram
)

// String returns the kind in lower case.
func (k MetricKind) String() string {
	return [...]string{"counter", "gauge", "histogram"}[k]
}

// metricNamespace precedes every name a guest defines in Envoy's statistics.
const metricNamespace = "wasmcustom."

// Metric is one statistic as Envoy would show it.
type Metric struct {
	Kind MetricKind
	// Name is Envoy's full name: "wasmcustom." and what the guest defined.
	Name string
	// Value is the count or level; zero for histograms.
	Value uint64
	// Samples are a histogram's recorded values, oldest first.
	Samples []uint64
}

type metricKey struct {
	kind MetricKind
	name string
}

type sharedValue struct {
	data []byte
	cas  uint32
}

// Proxy is the part of an Envoy process that outlives and is shared by its
// VMs: metrics, shared data and shared queues. It is safe for concurrent use.
type Proxy struct {
	mu      sync.Mutex
	metrics map[metricKey]*Metric
	shared  map[string]map[string]sharedValue
	lastCAS uint32
	tokens  map[queueName]uint32
	queues  map[uint32]*queue
	ready   []readiness
}

// NewProxy returns a Proxy without metrics, shared data or queues.
func NewProxy() *Proxy {
	return &Proxy{
		metrics: map[metricKey]*Metric{},
		shared:  map[string]map[string]sharedValue{},
		tokens:  map[queueName]uint32{},
		queues:  map[uint32]*queue{},
	}
}

// Metrics returns every defined metric, sorted by name, then kind.
func (p *Proxy) Metrics() []Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Metric
	for _, m := range p.metrics {
		c := *m
		c.Samples = slices.Clone(m.Samples)
		all = append(all, c)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Name != all[j].Name {
			return all[i].Name < all[j].Name
		}
		return all[i].Kind < all[j].Kind
	})
	return all
}

// Metric returns the metric that a guest defined under name, given as the
// guest gives it or with Envoy's prefix, and whether it exists.
func (p *Proxy) Metric(kind MetricKind, name string) (Metric, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.metrics[metricKey{kind, metricName(strings.TrimPrefix(name, metricNamespace))}]
	if !ok {
		return Metric{}, false
	}
	c := *m
	c.Samples = slices.Clone(m.Samples)
	return c, true
}

// SharedData returns the value that VMs of the given vm_id hold under key.
func (p *Proxy) SharedData(vmID, key string) ([]byte, bool) {
	v, ok := p.getShared(vmID, key)
	return slices.Clone(v.data), ok
}

// metricName drops trailing dots because Envoy's symbol table does.
func metricName(guest string) string {
	return metricNamespace + strings.TrimRight(guest, ".")
}

func (p *Proxy) defineMetric(kind MetricKind, guestName string) *Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := metricKey{kind, metricName(guestName)}
	if m, ok := p.metrics[key]; ok {
		return m
	}
	m := &Metric{Kind: kind, Name: key.name}
	p.metrics[key] = m
	return m
}

func (p *Proxy) incrementMetric(m *Metric, offset int64) status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Kind == Histogram || (m.Kind == Counter && offset <= 0) {
		return statusBadArgument
	}
	m.Value += uint64(offset)
	return statusOK
}

func (p *Proxy) recordMetric(m *Metric, value uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Kind {
	case Counter:
		m.Value += value
	case Gauge:
		m.Value = value
	case Histogram:
		m.Samples = append(m.Samples, value)
	}
}

func (p *Proxy) metricValue(m *Metric) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.Value
}

func (p *Proxy) getShared(vmID, key string) (sharedValue, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.shared[vmID][key]
	return v, ok
}

// setShared checks cas only against an existing value, and only when it is not
// zero; a fresh key accepts any.
func (p *Proxy) setShared(vmID, key string, data []byte, cas uint32) status {
	p.mu.Lock()
	defer p.mu.Unlock()
	values := p.shared[vmID]
	if values == nil {
		values = map[string]sharedValue{}
		p.shared[vmID] = values
	}
	if old, ok := values[key]; ok && cas != 0 && cas != old.cas {
		return statusCasMismatch
	}
	p.lastCAS++
	values[key] = sharedValue{data, p.lastCAS}
	return statusOK
}
