package policy

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// Table is everything granted at one destination, indexed by source and by path:
// what a request costs depends on the rules that speak of its own source and
// path, never on how many others there are. The zero Table denies everything.
type Table struct {
	// values holds each distinct automaton of a header's value once; matches refer
	// to it by index.
	values []*automaton.Automaton
	// patterns is the number of distinct path patterns; paths run all of them, in
	// one pass over a path where they could be merged.
	patterns int
	paths    []*automaton.Union
	grants   []grant
	// lists are the distinct lists of grants that sources have, each ascending.
	lists [][]uint32
	// bySource gives the list of a SPIFFE ID. A map compares the full text.
	bySource map[string]uint32
	// uses lists, for every pattern, the matches that refer to it, in the table's
	// order; those for any path come last.
	uses [][]use
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
	// path is the number of a pattern, or anyPath.
	path    int
	methods []string
	headers []header
}

type header struct {
	name  string
	value int
}

// use is a match by its place in the table.
type use struct{ grant, match uint32 }

// before reports whether u comes before v in the table.
func (u use) before(v use) bool {
	return u.grant < v.grant || u.grant == v.grant && u.match < v.match
}

const anyPath = -1

// Compile turns grants into a Table. The same grants in any order give the same
// table. Grants of one name (a TrafficTarget is unique) stay in input order.
func Compile(grants []Grant) *Table {
	sorted := slices.Clone(grants)
	slices.SortStableFunc(sorted, func(a, b Grant) int { return strings.Compare(a.Name, b.Name) })
	var values, paths numbered
	t := &Table{}
	for _, g := range sorted {
		t.grants = append(t.grants, compile(g, &values, &paths))
	}
	t.values, t.patterns, t.paths = values.all, len(paths.all), automaton.Merge(paths.all)
	t.lists, t.bySource = indexSources(sorted)
	t.uses = t.indexPaths()
	return t
}

// Passes returns how often a path is read to find the patterns that accept it: 1
// where all could be merged into one automaton, 0 without patterns.
func (t *Table) Passes() int { return len(t.paths) }

// Patterns returns the number of distinct path patterns.
func (t *Table) Patterns() int { return t.patterns }

func compile(g Grant, values, paths *numbered) grant {
	out := grant{name: g.Name, ports: slices.Clone(g.Ports), connections: g.Connections}
	for _, m := range g.Matches {
		compiled := match{name: m.Name, path: anyPath, methods: slices.Clone(m.Methods)}
		if m.Path != nil {
			compiled.path = paths.number(m.Path)
		}
		for _, h := range m.Headers {
			compiled.headers = append(compiled.headers, header{name: h.Name, value: values.number(h.Value)})
		}
		out.matches = append(out.matches, compiled)
	}
	return out
}

// numbered numbers each distinct automaton in the order of first use.
type numbered struct {
	all   []*automaton.Automaton
	index map[string]int
}

func (c *numbered) number(a *automaton.Automaton) int {
	key := string(a.AppendTo(nil))
	n, ok := c.index[key]
	if !ok {
		if c.index == nil {
			c.index = map[string]int{}
		}
		n = len(c.all)
		c.all = append(c.all, a)
		c.index[key] = n
	}
	return n
}

// indexSources finds what each source is granted. Ten thousand callers of one
// TrafficTarget share one list; lists are in the order of the first source that
// has them.
func indexSources(grants []Grant) ([][]uint32, map[string]uint32) {
	sources := map[string][]uint32{}
	for i, g := range grants {
		for _, s := range g.Sources {
			if s == "" {
				continue // would be whoever has no certificate
			}
			if n := len(sources[s]); n == 0 || sources[s][n-1] != uint32(i) {
				sources[s] = append(sources[s], uint32(i))
			}
		}
	}
	var lists [][]uint32
	index := map[string]uint32{}
	bySource := make(map[string]uint32, len(sources))
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		key := listKey(sources[name])
		n, ok := index[key]
		if !ok {
			n = uint32(len(lists))
			index[key] = n
			lists = append(lists, sources[name])
		}
		bySource[name] = n
	}
	return lists, bySource
}

func listKey(list []uint32) string {
	var key []byte
	for _, g := range list {
		key = binary.LittleEndian.AppendUint32(key, g)
	}
	return string(key)
}

// indexPaths finds the uses of every pattern, and of any path.
func (t *Table) indexPaths() [][]use {
	uses := make([][]use, t.patterns+1)
	for i := range t.grants {
		for j := range t.grants[i].matches {
			pattern := t.grants[i].matches[j].path
			if pattern == anyPath {
				pattern = t.patterns
			}
			uses[pattern] = append(uses[pattern], use{uint32(i), uint32(j)})
		}
	}
	return uses
}
