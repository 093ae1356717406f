package policy

import "encoding/binary"

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
		w.grant(t, &t.grants[i])
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

func (w *writer) grant(t *Table, g *grant) {
	w.text(t.text(g.name))
	ports, matches := t.portsOf(g), t.matchesOf(g)
	w.count(len(ports))
	for _, p := range ports {
		w.count(int(p.First))
		w.count(int(p.Last))
	}
	connections := 0
	if g.connections {
		connections = 1
	}
	w.count(connections)
	w.count(len(matches))
	for i := range matches {
		w.match(t, &matches[i])
	}
}

func (w *writer) match(t *Table, m *match) {
	w.text(t.text(m.name))
	w.count(int(m.path) + 1)
	methods, headers := t.methodsOf(m), t.headersOf(m)
	w.count(len(methods))
	for _, method := range methods {
		w.text(t.text(method))
	}
	w.count(len(headers))
	for _, h := range headers {
		w.text(t.text(h.name))
		w.count(int(h.value))
	}
}

// sources writes each list of grants once, and of the names what is new: most
// begin with the trust domain and a namespace.
func (w *writer) sources(t *Table) {
	w.count(len(t.lists.ends))
	for i := range t.lists.ends {
		list := t.lists.list(uint32(i))
		w.count(len(list))
		for _, g := range list {
			w.count(int(g))
		}
	}
	w.count(len(t.sources.ends))
	last := ""
	for i := range t.sources.ends {
		name := t.sources.name(i)
		n := shared(last, name)
		w.count(n)
		w.text(name[n:])
		w.count(int(t.sources.lists[i]))
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
