package main

import (
	"fmt"
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
