package conformance

import (
	"fmt"
	"io"
	"time"
)

const (
	title = "learn-layer5 assertions (SMI v0.6.0), ported"
	// elsewhere is what a folder of manifests cannot show.
	elsewhere = "not here: that the CRDs carry the names TrafficTarget/tt, HTTPRouteGroup/htr and TrafficSplit/ts.\n" +
		"There is no API server in the folder mode; the Kubernetes charts are held to that."
)

// capability is the suite's word for how much of a specification a mesh has.
type capability string

const (
	full capability = "FULL"
	half capability = "HALF"
	none capability = "NONE"
)

// outcome is how one step went. A step after one that failed is not reached.
type outcome struct {
	step    step
	reached bool
	err     error
	took    time.Duration
}

func (o outcome) passed() bool { return o.reached && o.err == nil }

func (o outcome) word() string {
	switch {
	case !o.reached:
		return "not reached"
	case o.err != nil:
		return "FAIL"
	}
	return "pass"
}

// result is how a specification did in one mode of the mesh.
type result struct {
	mode     string
	name     string
	outcomes []outcome
}

func (r result) passed() int {
	n := 0
	for _, o := range r.outcomes {
		if o.passed() {
			n++
		}
	}
	return n
}

// capability is FULL if every step passed, HALF if the step that failed lies
// past the middle, and NONE otherwise, as the suite counts.
func (r result) capability() capability {
	switch failing := r.passed() + 1; {
	case len(r.outcomes) == 0:
		return none
	case failing > len(r.outcomes):
		return full
	case 2*failing > len(r.outcomes):
		return half
	}
	return none
}

// report prints every step, then a line for each specification, then the total.
func report(w io.Writer, results []result) {
	fmt.Fprintln(w, title)
	passed, total := 0, 0
	for _, r := range results {
		fmt.Fprintf(w, "\n%s, %s mode\n", r.name, r.mode)
		for _, o := range r.outcomes {
			fmt.Fprintf(w, "  %-6s  %-11s  %5.2f s  %s\n", o.step.id, o.word(), o.took.Seconds(), o.step.asserts)
		}
		passed, total = passed+r.passed(), total+len(r.outcomes)
	}
	fmt.Fprintf(w, "\n%-14s  %-10s  %-7s  %s\n", "specification", "mode", "passed", "capability")
	for _, r := range results {
		fmt.Fprintf(w, "%-14s  %-10s  %2d/%-4d  %s\n", r.name, r.mode, r.passed(), len(r.outcomes), r.capability())
	}
	fmt.Fprintf(w, "%-14s  %-10s  %2d/%-4d\n%s\n\n", "total", "", passed, total, elsewhere)
}
