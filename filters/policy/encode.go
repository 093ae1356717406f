package policy

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// magic opens an encoded table; its last byte is the version of the layout. A
// filter refuses a version it does not know and so keeps what it has.
const magic = "wmt\x03"

// maxShared is how much of a source's name is left out because the one before
// begins with the same. The limit keeps what a damaged table makes a filter
// allocate proportional to its size.
const maxShared = 255

// Encode returns the table as the filter reads it. Equal tables have equal
// bytes. All numbers are unsigned varints, all texts carry their length:
//
//	magic, automata of values, number of patterns, unions of their automata, grants,
//	lists of grants, sources: what one shares with the one before, the rest, its list
func (t *Table) Encode() []byte {
	w := writer(magic)
	w.count(len(t.values))
	for _, a := range t.values {
		w = a.AppendTo(w)
	}
	w.count(t.patterns)
	w.count(len(t.paths))
	for _, u := range t.paths {
		w = u.AppendTo(w)
	}
	w.count(len(t.grants))
	for i := range t.grants {
		w.grant(&t.grants[i])
	}
	w.sources(t)
	return w
}

type writer []byte

func (w *writer) count(n int) { *w = binary.AppendUvarint(*w, uint64(n)) }

func (w *writer) text(s string) {
	w.count(len(s))
	*w = append(*w, s...)
}

func (w *writer) grant(g *grant) {
	w.text(g.name)
	w.count(len(g.ports))
	for _, p := range g.ports {
		w.count(int(p.First))
		w.count(int(p.Last))
	}
	connections := 0
	if g.connections {
		connections = 1
	}
	w.count(connections)
	w.count(len(g.matches))
	for i := range g.matches {
		w.match(&g.matches[i])
	}
}

func (w *writer) match(m *match) {
	w.text(m.name)
	w.count(m.path + 1)
	w.count(len(m.methods))
	for _, method := range m.methods {
		w.text(method)
	}
	w.count(len(m.headers))
	for _, h := range m.headers {
		w.text(h.name)
		w.count(h.value)
	}
}

// sources writes each list of grants once, and of the names what is new: most
// begin with the trust domain and a namespace.
func (w *writer) sources(t *Table) {
	w.count(len(t.lists))
	for _, list := range t.lists {
		w.count(len(list))
		for _, g := range list {
			w.count(int(g))
		}
	}
	w.count(len(t.bySource))
	last := ""
	for _, name := range slices.Sorted(maps.Keys(t.bySource)) {
		n := shared(last, name)
		w.count(n)
		w.text(name[n:])
		w.count(int(t.bySource[name]))
		last = name
	}
}

// shared returns how many bytes of name need not be written after last.
func shared(last, name string) int {
	n := 0
	for n < min(len(last), len(name), maxShared) && last[n] == name[n] {
		n++
	}
	return n
}

// Decode reads an encoded table. False: it is not one, is of another version,
// or is damaged; no part of it may then be used. The table keeps references
// into the bytes, which must not change afterwards.
func Decode(encoded []byte) (*Table, bool) {
	if !strings.HasPrefix(string(encoded[:min(len(encoded), len(magic))]), magic) {
		return nil, false
	}
	r := &reader{rest: encoded[len(magic):], ok: true}
	t := &Table{}
	for n := r.count(); n > 0 && r.ok; n-- {
		t.values = append(t.values, r.automaton())
	}
	t.patterns = r.count()
	for n := r.count(); n > 0 && r.ok; n-- {
		t.paths = append(t.paths, r.union(t.patterns))
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		t.grants = append(t.grants, r.grant(len(t.values), t.patterns))
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		t.lists = append(t.lists, r.list(len(t.grants)))
	}
	t.bySource = r.sources(len(t.lists))
	if !r.ok || len(r.rest) != 0 {
		return nil, false
	}
	t.uses = t.indexPaths()
	return t, true
}

// reader reads forward; the first damaged item clears ok for good, and reads
// nothing more.
type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) fail() { r.rest, r.ok = nil, false }

// number reads a varint that must be below limit.
func (r *reader) number(limit int) int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n >= uint64(limit) {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

// count reads the number of items that follow. Each takes a byte or more, so
// more items than bytes is damage, and allocation stays proportional to input.
func (r *reader) count() int { return r.number(len(r.rest) + 1) }

func (r *reader) text() string {
	n := r.count()
	if n > len(r.rest) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return alias(s)
}

func (r *reader) automaton() *automaton.Automaton {
	a, rest, ok := automaton.Decode(r.rest)
	if !ok {
		r.fail()
		return nil
	}
	r.rest = rest
	return a
}

func (r *reader) union(patterns int) *automaton.Union {
	u, rest, ok := automaton.DecodeUnion(r.rest, patterns)
	if !ok {
		r.fail()
		return nil
	}
	r.rest = rest
	return u
}

func (r *reader) grant(values, patterns int) grant {
	g := grant{name: r.text()}
	for n := r.count(); n > 0 && r.ok; n-- {
		first, last := r.number(1<<16), r.number(1<<16)
		g.ports = append(g.ports, PortRange{uint16(first), uint16(last)})
	}
	g.connections = r.number(2) == 1
	for n := r.count(); n > 0 && r.ok; n-- {
		g.matches = append(g.matches, r.match(values, patterns))
	}
	return g
}

func (r *reader) match(values, patterns int) match {
	m := match{name: r.text(), path: r.number(patterns+1) - 1}
	for n := r.count(); n > 0 && r.ok; n-- {
		m.methods = append(m.methods, r.text())
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		m.headers = append(m.headers, header{name: r.text(), value: r.number(values)})
	}
	return m
}

// sources copies the names, as they are not written in whole.
func (r *reader) sources(lists int) map[string]uint32 {
	n := r.count()
	bySource := make(map[string]uint32, min(n, len(r.rest)/4)) // each takes four bytes or more
	last := ""
	for ; n > 0 && r.ok; n-- {
		start := r.number(min(len(last), maxShared) + 1)
		name := last[:start] + r.text()
		// An empty one would be whoever has no certificate.
		if name <= last || shared(last, name) != start {
			r.fail()
			break
		}
		last = name
		if list := r.number(lists); r.ok {
			bySource[name] = uint32(list)
		}
	}
	return bySource
}

// list reads grants in ascending order, which Decide relies on.
func (r *reader) list(grants int) []uint32 {
	var list []uint32
	for n := r.count(); n > 0 && r.ok; n-- {
		g := r.number(grants)
		if len(list) > 0 && uint32(g) <= list[len(list)-1] {
			r.fail()
			break
		}
		list = append(list, uint32(g))
	}
	return list
}
