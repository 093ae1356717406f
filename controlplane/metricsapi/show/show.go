// Package show draws traffic for people: a table of workloads or edges, and a graph
// of who calls whom.
//
// It is pure: traffic in, text out. It never asks anybody, never looks at a clock or
// a terminal, and lets no name end a line, a quotation or a tag.
package show

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

// Row is a workload, of which From is empty, or an edge.
type Row struct {
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Requests is how many there were in the window, RPS how many a second.
	Requests float64 `json:"requests"`
	RPS      float64 `json:"rps"`
	// Success is the share of them that were answered below 500, from 0 to 1.
	Success float64 `json:"success"`
	// P50, P90 and P99 are latencies in milliseconds.
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// Workloads are those that were called, with all that reached them.
func Workloads(t metricsapi.Traffic, window time.Duration) []Row {
	return rows(t, window, func(metricsapi.Flow) string { return "" })
}

// Edges are who called whom.
func Edges(t metricsapi.Traffic, window time.Duration) []Row {
	return rows(t, window, func(f metricsapi.Flow) string { return Name(f.Source) })
}

func rows(t metricsapi.Traffic, window time.Duration, from func(metricsapi.Flow) string) []Row {
	type key struct{ from, to string }
	sums := map[key]*metricsapi.Flow{}
	for _, f := range t.Flows {
		k := key{from(f), Name(f.Destination)}
		sum := sums[k]
		if sum == nil {
			sum = &metricsapi.Flow{Latency: metricsapi.Histogram{}}
			sums[k] = sum
		}
		sum.Success += f.Success
		sum.Failure += f.Failure
		for bound, n := range f.Latency {
			sum.Latency[bound] += n
		}
	}
	var out []Row
	for k, sum := range sums {
		r := Row{From: k.from, To: k.to, Requests: sum.Success + sum.Failure}
		if r.Requests <= 0 {
			continue
		}
		r.Success, r.RPS = sum.Success/r.Requests, r.Requests/window.Seconds()
		r.P50, _ = sum.Latency.Quantile(0.5)
		r.P90, _ = sum.Latency.Quantile(0.9)
		r.P99, _ = sum.Latency.Quantile(0.99)
		out = append(out, r)
	}
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b Row) int {
	return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
}

// Name is how a peer is shown: namespace/kind/name, or one word for none in
// particular.
func Name(p metricsapi.Peer) string {
	if p.IsAnybody() {
		return p.Kind
	}
	return p.Namespace + "/" + strings.ToLower(p.Kind) + "/" + p.Name
}

// Sort orders rows by name, or by a figure: what is worst or most comes first.
func Sort(rows []Row, by string) error {
	less := map[string]func(a, b Row) int{
		"name":    byName,
		"success": func(a, b Row) int { return cmp.Compare(a.Success, b.Success) },
		"rps":     func(a, b Row) int { return cmp.Compare(b.RPS, a.RPS) },
		"p50":     func(a, b Row) int { return cmp.Compare(b.P50, a.P50) },
		"p90":     func(a, b Row) int { return cmp.Compare(b.P90, a.P90) },
		"p99":     func(a, b Row) int { return cmp.Compare(b.P99, a.P99) },
	}[by]
	if less == nil {
		return fmt.Errorf("rows cannot be sorted by %q; choose name, success, rps, p50, p90 or p99", by)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(less(a, b), byName(a, b)) })
	return nil
}

// Table is a line for each row below a heading; edges have their caller first.
func Table(rows []Row) string {
	from, to := 0, len("TO")
	for _, r := range rows {
		from, to = max(from, len([]rune(r.From))), max(to, len([]rune(r.To)))
	}
	var b strings.Builder
	line := func(caller, callee string, figures ...string) {
		if from > 0 {
			fmt.Fprintf(&b, "%-*s  ", max(from, len("FROM")), Plain(caller))
		}
		fmt.Fprintf(&b, "%-*s  %8s  %9s  %9s  %9s  %9s\n", to, Plain(callee), figures[0], figures[1], figures[2], figures[3], figures[4])
	}
	line("FROM", "TO", "SUCCESS", "RPS", "P50", "P90", "P99")
	for _, r := range rows {
		ms := func(v float64) string { return fmt.Sprintf("%.1fms", v) }
		line(r.From, r.To, fmt.Sprintf("%.2f%%", 100*r.Success), fmt.Sprintf("%.2f", r.RPS), ms(r.P50), ms(r.P90), ms(r.P99))
	}
	return b.String()
}

// Plain replaces what could move a cursor.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
