package suite

import (
	"fmt"
	"io"
	"time"
)

const title = "learn-layer5 assertions (SMI v0.6.0), ported"

// capability is the suite's word for how much of a specification a mesh has.
type capability string

const (
	full capability = "FULL"
	half capability = "HALF"
	none capability = "NONE"
)

// Outcome is how one step went. A step after one that failed is not reached.
type Outcome struct {
	Step    Step
	Reached bool
	Err     error
	Took    time.Duration
}

func (o Outcome) passed() bool { return o.Reached && o.Err == nil }

func (o Outcome) word() string {
	switch {
	case !o.Reached:
		return "not reached"
	case o.Err != nil:
		return "FAIL"
	}
	return "pass"
}

// Result is how a specification did in one mode of the mesh.
type Result struct {
	Mode     string
	Name     string
	Outcomes []Outcome
}

func (r Result) passed() int {
	n := 0
	for _, o := range r.Outcomes {
		if o.passed() {
			n++
		}
	}
	return n
}

// capability is FULL if every step passed, HALF if the step that failed lies
// past the middle, and NONE otherwise, as the suite counts.
func (r Result) capability() capability {
	switch failing := r.passed() + 1; {
	case len(r.Outcomes) == 0:
		return none
	case failing > len(r.Outcomes):
		return full
	case 2*failing > len(r.Outcomes):
		return half
	}
	return none
}

// Report prints every step, then a line for each specification, then the total
// and what these results do not show.
func Report(w io.Writer, results []Result, notes string) {
	fmt.Fprintln(w, title)
	passed, total := 0, 0
	for _, r := range results {
		fmt.Fprintf(w, "\n%s, %s mode\n", r.Name, r.Mode)
		for _, o := range r.Outcomes {
			fmt.Fprintf(w, "  %-6s  %-11s  %5.2f s  %s\n", o.Step.ID, o.word(), o.Took.Seconds(), o.Step.Asserts)
		}
		passed, total = passed+r.passed(), total+len(r.Outcomes)
	}
	fmt.Fprintf(w, "\n%-14s  %-10s  %-7s  %s\n", "specification", "mode", "passed", "capability")
	for _, r := range results {
		fmt.Fprintf(w, "%-14s  %-10s  %2d/%-4d  %s\n", r.Name, r.Mode, r.passed(), len(r.Outcomes), r.capability())
	}
	fmt.Fprintf(w, "%-14s  %-10s  %2d/%-4d\n%s\n\n", "total", "", passed, total, notes)
}
