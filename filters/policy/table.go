package policy

import (
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// Table is everything granted at one destination, indexed by source: what a
// request costs depends on the rules for its own source, never on how many
// other sources there are. The zero Table denies everything.
type Table struct {
	// automata holds each distinct automaton once; matches refer to it by index,
	// so that patterns can later share one merged automaton.
	automata []*automaton.Automaton
	grants   []grant
	// bySource gives the grants of a SPIFFE ID, ascending. Sources with the same
	// grants share one slice.
	bySource map[string][]uint32
}

// grant is a Grant whose automata are indices and whose sources are in the
// table's index.
type grant struct {
	name        string
	ports       []PortRange
	connections bool
	matches     []match
}

type match struct {
	name string
	// path is an index into automata, or anyPath.
	path    int
	methods []string
	headers []header
}

type header struct {
	name  string
	value int
}

const anyPath = -1

// Compile turns grants into a Table. The same grants in any order give the same
// table. Grants of one name (a TrafficTarget is unique) stay in input order.
func Compile(grants []Grant) *Table {
	sorted := slices.Clone(grants)
	slices.SortStableFunc(sorted, func(a, b Grant) int { return strings.Compare(a.Name, b.Name) })
	c := compiler{index: map[string]int{}}
	sources := map[string][]uint32{}
	for i, g := range sorted {
		c.table.grants = append(c.table.grants, c.grant(g))
		for _, s := range g.Sources {
			if s == "" {
				continue // would be whoever has no certificate
			}
			if n := len(sources[s]); n == 0 || sources[s][n-1] != uint32(i) {
				sources[s] = append(sources[s], uint32(i))
			}
		}
	}
	c.table.bySource = sources
	return &c.table
}

// compiler numbers each distinct automaton in the order of first use.
type compiler struct {
	table Table
	index map[string]int
}

func (c *compiler) grant(g Grant) grant {
	out := grant{name: g.Name, ports: slices.Clone(g.Ports), connections: g.Connections}
	for _, m := range g.Matches {
		out.matches = append(out.matches, c.match(m))
	}
	return out
}

func (c *compiler) match(m Match) match {
	out := match{name: m.Name, path: anyPath, methods: slices.Clone(m.Methods)}
	if m.Path != nil {
		out.path = c.number(m.Path)
	}
	for _, h := range m.Headers {
		out.headers = append(out.headers, header{name: h.Name, value: c.number(h.Value)})
	}
	return out
}

func (c *compiler) number(a *automaton.Automaton) int {
	key := string(a.AppendTo(nil))
	n, ok := c.index[key]
	if !ok {
		n = len(c.table.automata)
		c.table.automata = append(c.table.automata, a)
		c.index[key] = n
	}
	return n
}
