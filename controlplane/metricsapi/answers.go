package metricsapi

import (
	"math"
	"time"

	metrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"
	splitmetrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PartialAnnotation is on figures that are too small, and says why.
const PartialAnnotation = "wasmesh.io/partial"

// TrafficMetrics are those of SMI with the backend, which SMI's Go types have from
// v1alpha2 on only.
type TrafficMetrics struct {
	metrics.TrafficMetrics `json:",inline"`
	Backend                *splitmetrics.Backend `json:"backend,omitempty"`
}

// TrafficMetricsList is a list of them.
type TrafficMetricsList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	// Resource is what was asked for.
	Resource *corev1.ObjectReference `json:"resource"`
	Items    []TrafficMetrics        `json:"items"`
}

// Question is what is asked about.
type Question struct {
	Kind Kind
	// Namespace is empty for all.
	Namespace string
	// Name is empty for a list.
	Name   string
	Window time.Duration
}

// List makes the answer about several objects.
func List(q Question, t Traffic, objects []Object) TrafficMetricsList {
	list := newList(q)
	for _, o := range objects {
		list.Items = append(list.Items, items(q, t, o)...)
	}
	return list
}

// items are the metrics of an object: one, but for a TrafficSplit one for each
// backend (smi-rules 87).
func items(q Question, t Traffic, o Object) []TrafficMetrics {
	if o.Kind.Name != KindSplit {
		return []TrafficMetrics{Item(q, t, o)}
	}
	var out []TrafficMetrics
	for _, b := range o.Backends {
		item := newItem(q, t, o, t.ReceivedBy(b))
		item.Backend = &splitmetrics.Backend{Apex: o.Apex, Name: b.Name, Weight: int(b.Weight)}
		out = append(out, item)
	}
	return out
}

// Item makes the answer about one object that is no TrafficSplit.
func Item(q Question, t Traffic, o Object) TrafficMetrics { return newItem(q, t, o, t.Received(o)) }

// EdgeList makes the answer about the edges of an object.
func EdgeList(q Question, t Traffic, o Object) TrafficMetricsList {
	list := newList(q)
	for _, e := range t.Edges(o) {
		item := newItem(q, t, o, e.Measure)
		item.Edge = &metrics.Edge{Direction: metrics.From, Resource: reference(e.Peer)}
		if e.Out {
			item.Edge.Direction = metrics.To
		}
		list.Items = append(list.Items, item)
	}
	return list
}

func newList(q Question) TrafficMetricsList {
	return TrafficMetricsList{
		TypeMeta: metav1.TypeMeta{Kind: "TrafficMetricsList", APIVersion: metrics.APIVersion},
		Resource: &corev1.ObjectReference{Kind: q.Kind.Name, Namespace: q.Namespace, Name: q.Name},
		Items:    []TrafficMetrics{},
	}
}

func reference(p Peer) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
}

func newItem(q Question, t Traffic, o Object, m Measure) TrafficMetrics {
	at := metav1.NewTime(t.At)
	item := TrafficMetrics{TrafficMetrics: metrics.TrafficMetrics{
		TypeMeta:   metav1.TypeMeta{Kind: "TrafficMetrics", APIVersion: metrics.APIVersion},
		ObjectMeta: metav1.ObjectMeta{Name: o.Name.Name, Namespace: o.Name.Namespace, CreationTimestamp: at, Labels: o.Labels},
		Resource:   reference(o.peer()),
	}}
	for _, m := range metrics.AvailableMetrics {
		one := *m
		item.Metrics = append(item.Metrics, &one)
	}
	item.Interval = &metrics.Interval{Timestamp: at, Window: metav1.Duration{Duration: q.Window}}
	item.Edge = &metrics.Edge{Direction: metrics.From}
	if m.Partial != "" {
		item.Annotations = map[string]string{PartialAnnotation: m.Partial}
	}
	set := func(name string, value float64) { item.Get(name).Set(bounded(value)) }
	for name, q := range map[string]float64{"p99_response_latency": 0.99, "p90_response_latency": 0.9, "p50_response_latency": 0.5} {
		value, _ := m.Latency.Quantile(q) // none is zero (smi-rules 88)
		set(name, value)
	}
	set("success_count", m.Success)
	set("failure_count", m.Failure)
	return item
}

// bounded keeps a value within what a quantity of thousandths can hold.
func bounded(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return max(0, min(v, math.MaxInt64/2/1000))
}
