package scenarios

import (
	"fmt"
	"maps"

	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// prefix is what Envoy puts before the name of a filter's metric.
const prefix = "wasmcustom."

// tallied are the counters that tell verdicts.
var tallied = []string{traffic.Denials, traffic.Audited, traffic.Connections}

// tally says by its counters what a server's filter made of one request or
// connection. It wants none of them moved but those of one verdict, in the
// series of that caller; nothing moved is what an allowed request leaves.
func tally(c call, before, after map[string]uint64) (verdict, error) {
	possible := []verdict{{outcome: allow}, refusal(policy.ReasonReject)}
	for _, r := range reasons {
		possible = append(possible, refusal(r), verdict{audit, string(r)})
	}
	for _, v := range possible {
		expected := maps.Clone(before)
		for _, series := range countedFor(c, v) {
			expected[prefix+series]++
		}
		if maps.Equal(expected, after) {
			return v, nil
		}
	}
	return verdict{}, fmt.Errorf("the filter's counters went from %v to %v, which is no verdict", before, after)
}

// countedFor are the series that a verdict moves by one.
func countedFor(c call, v verdict) []string {
	source, destination := c.caller.Metered(), c.server.Metered()
	var out []string
	if c.wire == tcp && v.passes() && !c.outside() { // outsiders are not looked at
		out = append(out, traffic.EdgeSeries(traffic.Connections, source, destination))
	}
	switch v.outcome {
	case deny:
		out = append(out, traffic.DenialSeries(source, destination, v.detail))
	case reject:
		out = append(out, traffic.DenialSeries(source, destination, string(policy.ReasonReject)))
	case audit:
		out = append(out, traffic.ReasonSeries(traffic.Audited, source, destination, v.detail))
	}
	return out
}
