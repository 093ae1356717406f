package judge

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/reference"
)

// Tally counts what a run has seen.
type Tally struct {
	Worlds, Cases, Allowed int
	// Readings are the paths that the reference read by itself.
	Readings int
	// Connections are the cases that an opaque port would let in.
	Connections int
	// Properties are requests asked before and after an edit, Moved those whose
	// answer changed, by direction and edit.
	Properties, Moved int
	Reasons           map[policy.Reason]int
	Clauses           map[reference.Clause]int
}

// NewTally returns one that has seen nothing.
func NewTally() *Tally {
	return &Tally{Reasons: map[policy.Reason]int{}, Clauses: map[reference.Clause]int{}}
}

func (t *Tally) count(v policy.Verdict, a reference.Answer) {
	t.Reasons[v.Reason]++
	if v.Allow {
		t.Allowed++
		return
	}
	t.Clauses[a.Clause]++
}

// Add takes in what another run has seen.
func (t *Tally) Add(o *Tally) {
	t.Worlds += o.Worlds
	t.Cases += o.Cases
	t.Allowed += o.Allowed
	t.Readings += o.Readings
	t.Connections += o.Connections
	t.Properties += o.Properties
	t.Moved += o.Moved
	for r, n := range o.Reasons {
		t.Reasons[r] += n
	}
	for c, n := range o.Clauses {
		t.Clauses[c] += n
	}
}

// leastAllowed is the share of cases below which a run says too little: where
// nearly everything is denied, most mistakes stay unseen.
const leastAllowed = 20 // percent

// Shortcomings are what the run did not exercise.
func (t *Tally) Shortcomings() []string {
	var out []string
	if t.Allowed*100 < t.Cases*leastAllowed || t.Cases == 0 {
		out = append(out, fmt.Sprintf("%d of %d cases are allowed, less than %d %%", t.Allowed, t.Cases, leastAllowed))
	}
	for _, r := range []policy.Reason{
		policy.ReasonNone, policy.ReasonSource, policy.ReasonPort, policy.ReasonPath, policy.ReasonMethod,
		policy.ReasonHeader, policy.ReasonPolicy, policy.ReasonReject,
	} {
		if t.Reasons[r] == 0 {
			out = append(out, fmt.Sprintf("no case ended with reason %q", r))
		}
	}
	for _, c := range reference.Clauses() {
		if t.Clauses[c] == 0 {
			out = append(out, fmt.Sprintf("no case was decided by the clause %q", c))
		}
	}
	for what, n := range map[string]int{"paths were read twice": t.Readings, "connections were allowed": t.Connections, "answers moved by edits": t.Moved} {
		if n == 0 {
			out = append(out, "no "+what)
		}
	}
	return out
}

// Print writes the tally as a table.
func (t *Tally) Print(w io.Writer) {
	share := func(n int) string { return fmt.Sprintf("%9d  %5.1f %%", n, 100*float64(n)/float64(max(1, t.Cases))) }
	fmt.Fprintf(w, "%-36s %s\n", "allowed", share(t.Allowed))
	for _, r := range slices.Sorted(maps.Keys(t.Reasons)) {
		if r != policy.ReasonNone {
			fmt.Fprintf(w, "%-36s %s\n", "reason "+string(r), share(t.Reasons[r]))
		}
	}
	for _, c := range reference.Clauses() {
		fmt.Fprintf(w, "%-36s %s\n", "decided by "+string(c), share(t.Clauses[c]))
	}
	fmt.Fprintf(w, "%-36s %s\n", "read by the reference's own reading", share(t.Readings))
	fmt.Fprintf(w, "%-36s %s\n", "open to an opaque connection", share(t.Connections))
	fmt.Fprintf(w, "%-36s %9d, of which %d moved\n", "asked before and after an edit", t.Properties, t.Moved)
}
