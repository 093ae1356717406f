package splits

import (
	"math"
	"testing"
)

// risk is how likely all of this package may fail although the mesh is right.
// Each count that chance decides gets an equal part of it.
const risk = 1e-6

// acceptance returns the fewest and the most of n requests that an outcome of
// probability p may have, so that fewer or more come with probability below
// risk. It sums the binomial distribution itself; nothing is approximated but
// the logarithm of factorials.
func acceptance(n int, p, risk float64) (fewest, most int) {
	switch p {
	case 0:
		return 0, 0
	case 1:
		return n, n
	}
	fewest, most = 0, n
	for tail := mass(n, 0, p); tail < risk/2 && fewest < n; tail += mass(n, fewest, p) {
		fewest++
	}
	for tail := mass(n, n, p); tail < risk/2 && most > 0; tail += mass(n, most, p) {
		most--
	}
	return fewest, most
}

// mass is the probability of exactly k of n.
func mass(n, k int, p float64) float64 {
	return math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log(1-p))
}

func logFactorial(n int) float64 {
	value, _ := math.Lgamma(float64(n + 1))
	return value
}

func TestAcceptance(t *testing.T) {
	for _, c := range []struct {
		n                    int
		p, risk              float64
		wantFewest, wantMost int
	}{
		{10, 0, 1e-6, 0, 0},
		{10, 1, 1e-6, 10, 10},
		{1, 0.5, 0.5, 0, 1},
		// P(0 of 4 heads) is 1/16: kept at a risk of 1/16, dropped at one of 1/4.
		{4, 0.5, 1.0 / 16, 0, 4},
		{4, 0.5, 1.0 / 4, 1, 3},
		// 100 throws of a coin: the classic 40 to 60 at 5 %.
		{100, 0.5, 0.05, 40, 60},
	} {
		fewest, most := acceptance(c.n, c.p, c.risk)
		if fewest != c.wantFewest || most != c.wantMost {
			t.Errorf("%d of %g at %g: got %d to %d, want %d to %d", c.n, c.p, c.risk, fewest, most, c.wantFewest, c.wantMost)
		}
	}
	// What is outside is rarer than the risk, and would not be if one more were.
	for _, p := range []float64{0.01, 0.25, 1.0 / 3, 0.9} {
		fewest, most := acceptance(600, p, risk)
		outside, wider := 0.0, 0.0
		for k := range 601 {
			if k < fewest || k > most {
				outside += mass(600, k, p)
			}
			if k <= fewest || k >= most {
				wider += mass(600, k, p)
			}
		}
		if outside >= risk || wider < risk/2 {
			t.Errorf("p %g: %d to %d leaves out %g, one less %g", p, fewest, most, outside, wider)
		}
	}
}
