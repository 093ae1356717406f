package requests

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// report prints what became of each shape that somebody wrote down, and the
// totals of all families.
func report(w io.Writer, all []hearing) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "family\tshape\tway")
	for _, k := range kinds() {
		fmt.Fprintf(t, "\t%s", k.name)
	}
	fmt.Fprintln(t)
	for row := range slices.Chunk(all, len(kinds())) {
		if isGenerated(row[0].shape.family) {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s", row[0].shape.family, row[0].shape.name, row[0].way)
		for _, h := range row {
			fmt.Fprintf(t, "\t%s", h.cell())
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	fmt.Fprintln(w)
	totals(w, all)
}

// cell is the answer and, where something arrived, how the application reads it.
func (h hearing) cell() string {
	out := h.outcome.String()
	for _, a := range h.seen {
		out += " " + fmt.Sprintf("%.40q", a.kind.read(a.target))
		if a.forbidden() != nil {
			out += " FORBIDDEN"
		}
	}
	return out
}

// totals prints one line for each family, and their sum.
func totals(w io.Writer, all []hearing) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "family\tshapes\tsent\tarrived\t403\t400\tother\treset\tforbidden\tnot as wanted\t")
	var sum count
	for _, family := range families(all) {
		var c count
		for _, h := range all {
			if h.shape.family == family {
				c.add(h)
			}
		}
		c.print(t, family)
		sum.plus(c)
	}
	sum.print(t, "all")
	t.Flush()
}

// count is what became of some hearings.
type count struct {
	names [9]int
	last  string
}

// add counts a hearing: shapes, sent, arrived, 403, 400, other, reset,
// forbidden, not as wanted.
func (c *count) add(h hearing) {
	if key := h.shape.family + "/" + h.shape.name; key != c.last {
		c.last = key
		c.names[0]++
	}
	c.names[1]++
	c.names[2] += min(1, len(h.seen))
	switch o := h.outcome.String(); {
	case len(h.seen) > 0:
	case strings.HasPrefix(o, "403"):
		c.names[3]++
	case strings.HasPrefix(o, "400"):
		c.names[4]++
	case o == "reset":
		c.names[6]++
	default:
		c.names[5]++
	}
	if slices.ContainsFunc(h.seen, func(a arrival) bool { return a.forbidden() != nil }) {
		c.names[7]++
	}
	if h.judge() != nil {
		c.names[8]++
	}
}

func (c *count) plus(o count) {
	for i := range c.names {
		c.names[i] += o.names[i]
	}
}

func (c count) print(w io.Writer, name string) {
	fmt.Fprint(w, name)
	for _, n := range c.names {
		fmt.Fprintf(w, "\t%d", n)
	}
	fmt.Fprintln(w, "\t")
}

// families returns the families in the order in which they were heard.
func families(all []hearing) []string {
	var names []string
	for _, h := range all {
		if !slices.Contains(names, h.shape.family) {
			names = append(names, h.shape.family)
		}
	}
	return names
}

// isGenerated tells the many from those that somebody wrote down.
func isGenerated(family string) bool { return strings.HasPrefix(family, "every ") }
