package metricsapi

import (
	"math"
	"slices"
)

// Histogram holds, by upper bound, how many values were not above it. It is
// complete where it has the bound +Inf.
type Histogram map[float64]float64

// add puts n into a bucket. What is no count is passed over.
func (h Histogram) add(bound, n float64) {
	if math.IsNaN(bound) || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return
	}
	h[bound] += n
}

// Quantile is what Prometheus's histogram_quantile returns for q between 0 and 1:
// values lie evenly within a bucket, the first one begins at 0, and what is above
// the last finite bound is that bound. False: there are no values.
func (h Histogram) Quantile(q float64) (float64, bool) {
	bounds := make([]float64, 0, len(h))
	for b := range h {
		bounds = append(bounds, b)
	}
	slices.Sort(bounds)
	if len(bounds) < 2 || !math.IsInf(bounds[len(bounds)-1], 1) {
		return 0, false
	}
	counts := h.rising(bounds)
	last := len(bounds) - 1
	if counts[last] == 0 {
		return 0, false
	}
	rank := q * counts[last]
	at := 0
	for at < last && counts[at] < rank {
		at++
	}
	if at == last {
		return bounds[last-1], true
	}
	if at == 0 && bounds[0] <= 0 {
		return bounds[0], true
	}
	start, below := 0.0, 0.0
	if at > 0 {
		start, below = bounds[at-1], counts[at-1]
	}
	inside := counts[at] - below
	if inside == 0 {
		return start, true
	}
	return start + (bounds[at]-start)*(rank-below)/inside, true
}

// rising are the counts by bound, none below the one before: counters that were
// read at different moments can say so.
func (h Histogram) rising(bounds []float64) []float64 {
	counts := make([]float64, len(bounds))
	most := 0.0
	for i, b := range bounds {
		most = max(most, h[b])
		counts[i] = most
	}
	return counts
}

// plus adds another histogram.
func (h Histogram) plus(o Histogram) {
	for bound, n := range o {
		h.add(bound, n)
	}
}
