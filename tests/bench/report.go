package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
)

// report writes the figures as Markdown, and in words who wins what.
func report(w io.Writer, on wire, m machine, o options, results []result) error {
	var b bytes.Buffer
	if o.smoke {
		b.WriteString("This is the smoke form: it shows that the benchmark works, its figures mean nothing.\n\n")
	}
	what := "Inbound sidecar, mutual TLS, HTTP/2"
	if on == plaintext {
		what = "Inbound sidecar, HTTP/1 without TLS"
	}
	fmt.Fprintf(&b, "%s, one worker; %d connections, %d-byte answers.\n", what, o.connections, answerSize)
	fmt.Fprintf(&b, "Per variant %d Envoys, %d rounds each, %d requests a round; median (quartiles).\n", o.fleets, o.rounds, o.requests)
	fmt.Fprintf(&b, "%s\nThe module is made by %s where nothing else is said.\n\n", m, o.modules[0].name)
	bare := summarize(results[0].cost)
	fmt.Fprintf(&b, "Without a filter a request costs Envoy %s µs of CPU.\n", bare.text(1))
	fmt.Fprintf(&b, "It worked %s of the time; the further below 100 %%, the more the load decides what it costs.\n",
		percentages(results, func(r result) []float64 { return r.busy }))
	fmt.Fprintf(&b, "Others kept it off its core %s of the time; above a few %%, the figures are disturbed.\n\n",
		percentages(results, func(r result) []float64 { return r.kept }))
	b.WriteString("| who decides, among how many principals (x patterns) | added µs per request | that is, % | anonymous MB | ready s |\n|---|---|---|---|---|\n")
	for i, r := range results {
		added, share := summarize(r.added).text(1), summarize(r.share).text(0)
		if i == 0 {
			added, share = "–", "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.variant.name, added, share, summarize(r.memory).text(1), summarize(r.ready).text(2))
	}
	if lines := append(bars(results), conclusions(results)...); len(lines) > 0 {
		fmt.Fprintf(&b, "\n- %s\n", strings.Join(lines, "\n- "))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// percentages is the range, over the variants, of a share that every round has.
func percentages(results []result, of func(result) []float64) string {
	low, high := math.Inf(1), 0.0
	for _, r := range results {
		share := 100 * summarize(of(r)).median
		low, high = min(low, share), max(high, share)
	}
	return fmt.Sprintf("%.0f to %.0f %%", low, high)
}

// conclusions compares the module with each native form that decided among as
// many principals.
func conclusions(results []result) []string {
	var lines []string
	for _, ours := range results {
		if ours.variant.decider != bothForms {
			continue
		}
		for _, native := range results {
			v := native.variant
			if v.principals != ours.variant.principals || v.decider != policyList && v.decider != matcherTree {
				continue
			}
			lines = append(lines, compare("CPU per request", "µs", 1, native, ours, result.addedCost))
			// Both native forms need as good as nothing of the rest.
			if v.decider == matcherTree {
				lines = append(lines,
					compare("anonymous memory", "MB", 1, native, ours, result.memoryUsed),
					compare("time to ready", "s", 2, native, ours, result.readyAfter))
			}
		}
	}
	return lines
}

func (r result) addedCost() spread  { return summarize(r.added) }
func (r result) memoryUsed() spread { return summarize(r.memory) }
func (r result) readyAfter() spread { return summarize(r.ready) }

// compare says in one sentence who needs less, and by which factor where the
// figures carry one.
func compare(what, unit string, decimals int, native, ours result, of func(result) spread) string {
	n, o := of(native), of(ours)
	text := fmt.Sprintf("%s, %q %s %s, %q %s %s", what,
		native.variant.name, number(n.median, decimals), unit,
		ours.variant.name, number(o.median, decimals), unit)
	winner, less, more := "native wins", n, o
	if o.median < n.median {
		winner, less, more = "wasmesh wins", o, n
	}
	switch {
	case n.low <= o.high && o.low <= n.high:
		return text + ": no difference beyond the spread."
	case less.low <= 0:
		return text + ": " + winner + "; its cost is lost in the spread, so there is no ratio."
	}
	return fmt.Sprintf("%s: **%s**, by a factor of %.1f.", text, winner, more.median/less.median)
}
