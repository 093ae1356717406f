package main

import (
	"fmt"
	"math"
	"slices"
)

// spread is the middle of some figures and where half of them lie: a single
// disturbed round moves neither.
type spread struct{ low, median, high float64 }

// summarize needs at least one figure.
func summarize(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	return spread{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// quantile interpolates between the two nearest figures.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// text prints with so many decimals; a median that rounds to zero has no sign.
func (s spread) text(decimals int) string {
	return fmt.Sprintf("%s (%s to %s)", number(s.median, decimals), number(s.low, decimals), number(s.high, decimals))
}

func number(x float64, decimals int) string {
	text := fmt.Sprintf("%.*f", decimals, x)
	if zero := fmt.Sprintf("-%.*f", decimals, 0.0); text == zero {
		return text[1:]
	}
	return text
}

// interval is where the median of what the figures are drawn from lies with 95 %
// probability, whatever their distribution: an outlier is one figure like any
// other. With fewer than six figures it is all of them.
func interval(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	// below is the probability that at most k figures lie below the median.
	below, term, k := 0.0, math.Pow(0.5, float64(n)), 0
	for ; ; k++ {
		below += term
		if below > 0.025 {
			break
		}
		term *= float64(n-k) / float64(k+1)
	}
	k = max(k-1, 0)
	return spread{sorted[k], quantile(sorted, 0.5), sorted[n-1-k]}
}

// paired applies f to the figures of the same round.
func paired(a, b []float64, f func(a, b float64) float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = f(a[i], b[i])
	}
	return out
}
