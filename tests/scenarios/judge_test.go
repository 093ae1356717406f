package scenarios

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
)

// judge is one way to find out what becomes of requests under a policy.
type judge interface {
	// begin takes a step's policy over.
	begin(ctx context.Context, s stage) error
	// ask says what becomes of one request. An error means that the judge has
	// seen something that is neither of the verdicts.
	ask(ctx context.Context, c call) (verdict, error)
	// tellsRule says whether the judge can know which rule allowed.
	tellsRule() bool
	// hearsOutside says whether the judge has a say about callers that are not of
	// the mesh: no policy speaks of them.
	hearsOutside() bool
}

// bench is a judge with its name and what it has done so far.
type bench struct {
	name string
	judge
	steps, requests int
}

// hear has the judge decide all of a step and returns what is wrong.
func (b *bench) hear(ctx context.Context, s stage, calls []call) []error {
	if err := b.begin(ctx, s); err != nil {
		return []error{fmt.Errorf("%s: %s: %w", s.file, b.name, err)}
	}
	b.steps++
	var wrong []error
	for _, c := range calls {
		if c.outside() && !b.hearsOutside() {
			continue
		}
		got, err := b.ask(ctx, c)
		want := c.want
		if want.outcome == allow && !b.tellsRule() {
			want.detail = ""
		}
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %s: %w\n\t%s", c.at, b.name, err, c.text))
			continue
		case got != want:
			wrong = append(wrong, fmt.Errorf("%s: %s says %s, want %s\n\t%s", c.at, b.name, got, want, c.text))
		}
		b.requests++
	}
	return wrong
}

// report prints who has judged how much.
func report(w io.Writer, judges []*bench) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "judge\tsteps\trequests")
	for _, b := range judges {
		fmt.Fprintf(t, "%s\t%d\t%d\n", b.name, b.steps, b.requests)
	}
	t.Flush()
}
