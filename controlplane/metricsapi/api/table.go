package api

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

// tableOf is what `kubectl get` shows.
func tableOf(items []metricsapi.TrafficMetrics, include metav1.IncludeObjectPolicy) (*metav1.Table, error) {
	table := &metav1.Table{TypeMeta: metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"}, Rows: []metav1.TableRow{}}
	column := func(name, kind, format, what string) {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: kind, Format: format, Description: what})
	}
	column("Name", "string", "name", "What the figures are of.")
	column("Kind", "string", "", "The kind of that.")
	column("Peer", "string", "", "The other side of an edge, or the backend of a split, with its weight.")
	column("Success", "string", "", "Share of the requests with an answer below 500.")
	column("RPS", "string", "", "Requests per second.")
	column("P50", "string", "", "Half of the requests took no longer.")
	column("P90", "string", "", "Nine of ten requests took no longer.")
	column("P99", "string", "", "99 of 100 requests took no longer.")
	column("Window", "string", "", "The time that the figures are of.")
	column("Note", "string", "", "Whether figures are missing.")
	for _, item := range items {
		row := metav1.TableRow{Cells: cells(item)}
		var object any
		switch include {
		case "", metav1.IncludeMetadata:
			object = metav1.PartialObjectMetadata{
				TypeMeta:   metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
				ObjectMeta: item.ObjectMeta,
			}
		case metav1.IncludeObject:
			object = item
		case metav1.IncludeNone:
		default:
			return nil, fmt.Errorf("includeObject=%s is none of None, Metadata and Object", clip(string(include)))
		}
		if object != nil {
			text, err := json.Marshal(object)
			if err != nil {
				return nil, err
			}
			row.Object = runtime.RawExtension{Raw: text}
		}
		table.Rows = append(table.Rows, row)
	}
	return table, nil
}

func cells(item metricsapi.TrafficMetrics) []any {
	value := func(name string) float64 { return float64(item.Get(name).Value.MilliValue()) / 1000 }
	all := value("success_count") + value("failure_count")
	success, latency := "-", func(string) string { return "-" }
	if all > 0 {
		success = fmt.Sprintf("%.2f%%", 100*value("success_count")/all)
		latency = func(name string) string { return fmt.Sprintf("%.1fms", value(name)) }
	}
	note := ""
	if item.Annotations[metricsapi.PartialAnnotation] != "" {
		note = "partial"
	}
	return []any{
		item.Name, item.Resource.Kind, peerOf(item), success, fmt.Sprintf("%.2f", all/item.Window.Seconds()),
		latency("p50_response_latency"), latency("p90_response_latency"), latency("p99_response_latency"), item.Window.Duration.String(), note,
	}
}

func peerOf(item metricsapi.TrafficMetrics) string {
	switch {
	case item.Backend != nil:
		return fmt.Sprintf("%s (%d)", item.Backend.Name, item.Backend.Weight)
	case item.Edge == nil || item.Edge.Resource == nil:
		return ""
	}
	peer := item.Edge.Resource.Name
	if item.Edge.Resource.Namespace != "" {
		peer = item.Edge.Resource.Namespace + "/" + peer
	}
	return string(item.Edge.Direction) + " " + peer
}
