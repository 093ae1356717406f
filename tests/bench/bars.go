package main

import "fmt"

// bars compares in pairs, figures of the same round, what the project promises:
// what is in the same round is disturbed alike.
func bars(results []result) []string {
	var lines []string
	say := func(what string, decimals int, s spread, unit, bar string) {
		lines = append(lines, fmt.Sprintf("%s: **%s%s** (95 %%: %s to %s); the bar is %s.", what,
			number(s.median, decimals), unit, number(s.low, decimals), number(s.high, decimals), bar))
	}
	less := func(a, b float64) float64 { return a - b }
	if a, b, ok := both(results, largest, smallest); ok {
		say("From 10 x 1 to 10,000 x 1,000, in pairs", 2, interval(paired(a.cost, b.cost, less)), " µs", "2 µs")
	}
	if a, b, ok := both(results, thousand, nativeTree); ok {
		say("Access stage alone above the matcher tree, 1,000 x 1, in pairs", 2, interval(paired(a.cost, b.cost, less)), " µs", "6 µs")
	}
	for _, native := range []string{nativeList, nativeEach} {
		if a, b, ok := both(results, thousand, native); ok {
			ratio := func(a, b float64) float64 { return a / b }
			say(fmt.Sprintf("Access stage alone as a part of %q, added costs in pairs", native), 3,
				interval(paired(a.added, b.added, ratio)), "", "1/6 = 0.167")
		}
	}
	for _, pair := range [][2]string{{hostile, hostileBare}, {long, longBare}} {
		if a, b, ok := both(results, pair[0], pair[1]); ok {
			say(pair[0]+", in pairs", 1, interval(paired(a.cost, b.cost, less)), " µs", "100 µs")
		}
	}
	return lines
}

// both finds two variants, if they were measured.
func both(results []result, first, second string) (a, b result, ok bool) {
	found := 0
	for _, r := range results {
		switch r.variant.name {
		case first:
			a, found = r, found+1
		case second:
			b, found = r, found+1
		}
	}
	return a, b, found == 2
}
