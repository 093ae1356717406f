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
const magic = "wmt\x02"

// Encode returns the table as the filter reads it. Equal tables have equal
// bytes. All numbers are unsigned varints, all texts carry their length:
//
//	magic, automata, grants, lists of grants, sources with the number of their list
func (t *Table) Encode() []byte {
	w := writer(magic)
	w.count(len(t.automata))
	for _, a := range t.automata {
		w = a.AppendTo(w)
	}
	w.count(len(t.grants))
	for i := range t.grants {
		w.grant(&t.grants[i])
	}
	w.sources(t.bySource)
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

// sources writes each distinct list of grants once: ten thousand callers of one
// TrafficTarget share one list.
func (w *writer) sources(bySource map[string][]uint32) {
	var lists [][]uint32
	index := map[string]int{}
	names := slices.Sorted(maps.Keys(bySource))
	numbers := make([]int, len(names))
	for i, name := range names {
		key := listKey(bySource[name])
		n, ok := index[key]
		if !ok {
			n = len(lists)
			index[key] = n
			lists = append(lists, bySource[name])
		}
		numbers[i] = n
	}
	w.count(len(lists))
	for _, list := range lists {
		w.count(len(list))
		for _, g := range list {
			w.count(int(g))
		}
	}
	w.count(len(names))
	for i, name := range names {
		w.text(name)
		w.count(numbers[i])
	}
}

func listKey(list []uint32) string {
	var key []byte
	for _, g := range list {
		key = binary.LittleEndian.AppendUint32(key, g)
	}
	return string(key)
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
		t.automata = append(t.automata, r.automaton())
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		t.grants = append(t.grants, r.grant(len(t.automata)))
	}
	t.bySource = r.sources(len(t.grants))
	if !r.ok || len(r.rest) != 0 {
		return nil, false
	}
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

func (r *reader) grant(automata int) grant {
	g := grant{name: r.text()}
	for n := r.count(); n > 0 && r.ok; n-- {
		first, last := r.number(1<<16), r.number(1<<16)
		g.ports = append(g.ports, PortRange{uint16(first), uint16(last)})
	}
	g.connections = r.number(2) == 1
	for n := r.count(); n > 0 && r.ok; n-- {
		g.matches = append(g.matches, r.match(automata))
	}
	return g
}

func (r *reader) match(automata int) match {
	m := match{name: r.text(), path: r.number(automata+1) - 1}
	for n := r.count(); n > 0 && r.ok; n-- {
		m.methods = append(m.methods, r.text())
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		m.headers = append(m.headers, header{name: r.text(), value: r.number(automata)})
	}
	return m
}

func (r *reader) sources(grants int) map[string][]uint32 {
	var lists [][]uint32
	for n := r.count(); n > 0 && r.ok; n-- {
		lists = append(lists, r.list(grants))
	}
	n := r.count()
	bySource := make(map[string][]uint32, n)
	last := ""
	for ; n > 0 && r.ok; n-- {
		name := r.text()
		if name <= last { // an empty one would be whoever has no certificate
			r.fail()
			break
		}
		last = name
		if list := r.number(len(lists)); r.ok {
			bySource[name] = lists[list]
		}
	}
	return bySource
}

func (r *reader) list(grants int) []uint32 {
	var list []uint32
	for n := r.count(); n > 0 && r.ok; n-- {
		list = append(list, uint32(r.number(grants)))
	}
	return list
}
