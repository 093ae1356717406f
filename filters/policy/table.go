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
//
// It is a handful of long lists that refer to each other by number. A table of
// structures with strings decides as fast, but the garbage collector of the
// filter would follow every pointer in it, again and again.
type Table struct {
	// texts holds all texts but the names of sources.
	texts string
	// values holds each distinct automaton of a header's value once.
	values []*automaton.Automaton
	// patterns is the number of distinct path patterns; paths run all of them, in
	// one pass over a path where they could be merged.
	patterns int
	paths    []*automaton.Union
	grants   []grant
	ports    []PortRange
	matches  []match
	methods  []text
	headers  []header
	// lists are the distinct lists of grants that sources have.
	lists   lists
	sources sources
	// uses lists, pattern after pattern, the matches that refer to it, in the
	// table's order; those for any path come last. usesEnd says where each ends.
	uses    []use
	usesEnd []uint32
}

// text is a part of a table's texts.
type text struct{ start, end uint32 }

// span is a part of one of a table's lists.
type span struct{ start, end uint32 }

// grant is a Grant whose sources are in the table's index.
type grant struct {
	name           text
	ports, matches span
	connections    bool
}

type match struct {
	name text
	// path is the number of a pattern, or anyPath.
	path             int32
	methods, headers span
}

type header struct {
	name text
	// value is the number of an automaton.
	value uint32
}

// use is a match and the grant it belongs to.
type use struct{ grant, match uint32 }

const anyPath = -1

func (t *Table) text(x text) string           { return t.texts[x.start:x.end] }
func (t *Table) portsOf(g *grant) []PortRange { return t.ports[g.ports.start:g.ports.end] }
func (t *Table) matchesOf(g *grant) []match   { return t.matches[g.matches.start:g.matches.end] }
func (t *Table) methodsOf(m *match) []text    { return t.methods[m.methods.start:m.methods.end] }
func (t *Table) headersOf(m *match) []header  { return t.headers[m.headers.start:m.headers.end] }
func spanOf[T any](list []T, start int) span  { return span{uint32(start), uint32(len(list))} }

// usesOf returns who uses a pattern; the one after the last is any path.
func (t *Table) usesOf(pattern int) []use {
	start := uint32(0)
	if pattern > 0 {
		start = t.usesEnd[pattern-1]
	}
	return t.uses[start:t.usesEnd[pattern]]
}

// Compile turns grants into a Table. The same grants in any order give the same
// table. Grants of one name (a TrafficTarget is unique) stay in input order.
func Compile(grants []Grant) *Table {
	sorted := slices.Clone(grants)
	slices.SortStableFunc(sorted, func(a, b Grant) int { return strings.Compare(a.Name, b.Name) })
	c := compiler{}
	for i := range sorted {
		c.grant(&sorted[i])
	}
	t := &c.table
	t.texts = string(c.texts)
	t.values, t.patterns, t.paths = c.values.all, len(c.paths.all), automaton.Merge(c.paths.all)
	t.indexSources(sorted)
	t.indexPaths()
	return t
}

// Passes returns how often a path is read to find the patterns that accept it: 1
// where all could be merged into one automaton, 0 without patterns.
func (t *Table) Passes() int { return len(t.paths) }

// Patterns returns the number of distinct path patterns.
func (t *Table) Patterns() int { return t.patterns }

// compiler gathers a table.
type compiler struct {
	table         Table
	texts         []byte
	values, paths numbered
}

func (c *compiler) text(s string) text {
	start := len(c.texts)
	c.texts = append(c.texts, s...)
	return text{uint32(start), uint32(len(c.texts))}
}

func (c *compiler) grant(g *Grant) {
	t := &c.table
	ports, matches := len(t.ports), len(t.matches)
	t.ports = append(t.ports, g.Ports...)
	for i := range g.Matches {
		c.match(&g.Matches[i])
	}
	t.grants = append(t.grants, grant{
		name: c.text(g.Name), connections: g.Connections,
		ports: spanOf(t.ports, ports), matches: spanOf(t.matches, matches),
	})
}

func (c *compiler) match(m *Match) {
	t := &c.table
	path, methods, headers := anyPath, len(t.methods), len(t.headers)
	if m.Path != nil {
		path = c.paths.number(m.Path)
	}
	for _, method := range m.Methods {
		t.methods = append(t.methods, c.text(method))
	}
	for _, h := range m.Headers {
		t.headers = append(t.headers, header{name: c.text(h.Name), value: uint32(c.values.number(h.Value))})
	}
	t.matches = append(t.matches, match{
		name: c.text(m.Name), path: int32(path),
		methods: spanOf(t.methods, methods), headers: spanOf(t.headers, headers),
	})
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
func (t *Table) indexSources(grants []Grant) {
	granted := map[string][]uint32{}
	for i, g := range grants {
		for _, s := range g.Sources {
			if s == "" {
				continue // would be whoever has no certificate
			}
			if n := len(granted[s]); n == 0 || granted[s][n-1] != uint32(i) {
				granted[s] = append(granted[s], uint32(i))
			}
		}
	}
	known := map[string]uint32{}
	var names []byte
	for _, name := range slices.Sorted(maps.Keys(granted)) {
		key := listKey(granted[name])
		n, ok := known[key]
		if !ok {
			n = uint32(len(known))
			known[key] = n
			t.lists.add(granted[name])
		}
		names = t.sources.add(names, name, n)
	}
	t.sources.index(names)
}

func listKey(list []uint32) string {
	var key []byte
	for _, g := range list {
		key = binary.LittleEndian.AppendUint32(key, g)
	}
	return string(key)
}

// indexPaths finds the uses of every pattern, and of any path, by counting.
func (t *Table) indexPaths() {
	t.usesEnd = make([]uint32, t.patterns+1)
	for i := range t.matches {
		t.usesEnd[t.patternOf(&t.matches[i])]++
	}
	sum := uint32(0)
	for i, n := range t.usesEnd {
		t.usesEnd[i] = sum
		sum += n
	}
	t.uses = make([]use, sum)
	for i := range t.grants {
		for j := t.grants[i].matches.start; j < t.grants[i].matches.end; j++ {
			end := &t.usesEnd[t.patternOf(&t.matches[j])]
			t.uses[*end] = use{uint32(i), j}
			*end++
		}
	}
}

// patternOf returns a number for any path too.
func (t *Table) patternOf(m *match) int {
	if m.path == anyPath {
		return t.patterns
	}
	return int(m.path)
}
