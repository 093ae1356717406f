package policy

import (
	"encoding/binary"
	"strings"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// Decode reads an encoded table. False: it is not one, is of another version,
// or is damaged; no part of it may then be used. The table keeps references
// into the bytes, which must not change afterwards.
func Decode(encoded []byte) (*Table, bool) {
	if !strings.HasPrefix(string(encoded[:min(len(encoded), len(magic))]), magic) {
		return nil, false
	}
	t := &Table{texts: alias(encoded)}
	r := &reader{rest: encoded[len(magic):], size: len(encoded), ok: true, table: t}
	for n := r.count(); n > 0 && r.ok; n-- {
		t.values = append(t.values, r.automaton())
	}
	t.patterns = r.count()
	for n := r.count(); n > 0 && r.ok; n-- {
		t.paths = append(t.paths, r.union())
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		r.grant()
	}
	for n := r.count(); n > 0 && r.ok; n-- {
		r.list()
	}
	r.sources()
	if !r.ok || len(r.rest) != 0 {
		return nil, false
	}
	t.indexPaths()
	return t, true
}

// reader reads forward; the first damaged item clears ok for good, and reads
// nothing more.
type reader struct {
	rest []byte
	// size is that of the whole.
	size  int
	ok    bool
	table *Table
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

func (r *reader) text() text {
	n := r.count()
	if n > len(r.rest) {
		r.fail()
	}
	if !r.ok {
		return text{}
	}
	start := r.size - len(r.rest)
	r.rest = r.rest[n:]
	return text{uint32(start), uint32(start + n)}
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

func (r *reader) union() *automaton.Union {
	u, rest, ok := automaton.DecodeUnion(r.rest, r.table.patterns)
	if !ok {
		r.fail()
		return nil
	}
	r.rest = rest
	return u
}

func (r *reader) grant() {
	t := r.table
	g := grant{name: r.text()}
	start := len(t.ports)
	for n := r.count(); n > 0 && r.ok; n-- {
		first, last := r.number(1<<16), r.number(1<<16)
		t.ports = append(t.ports, PortRange{uint16(first), uint16(last)})
	}
	g.ports = spanOf(t.ports, start)
	g.connections = r.number(2) == 1
	start = len(t.matches)
	for n := r.count(); n > 0 && r.ok; n-- {
		r.match()
	}
	g.matches = spanOf(t.matches, start)
	t.grants = append(t.grants, g)
}

func (r *reader) match() {
	t := r.table
	m := match{name: r.text(), path: int32(r.number(t.patterns+1) - 1)}
	start := len(t.methods)
	for n := r.count(); n > 0 && r.ok; n-- {
		t.methods = append(t.methods, r.text())
	}
	m.methods = spanOf(t.methods, start)
	start = len(t.headers)
	for n := r.count(); n > 0 && r.ok; n-- {
		t.headers = append(t.headers, header{name: r.text(), value: uint32(r.number(len(t.values)))})
	}
	m.headers = spanOf(t.headers, start)
	t.matches = append(t.matches, m)
}

// list reads grants in ascending order, which Decide relies on.
func (r *reader) list() {
	t := r.table
	var list []uint32
	for n := r.count(); n > 0 && r.ok; n-- {
		g := r.number(len(t.grants))
		if len(list) > 0 && uint32(g) <= list[len(list)-1] {
			r.fail()
			break
		}
		list = append(list, uint32(g))
	}
	t.lists.add(list)
}

// sources copies the names, as they are not written in whole.
func (r *reader) sources() {
	s := &r.table.sources
	var names []byte
	last := ""
	for n := r.count(); n > 0 && r.ok; n-- {
		start := r.number(min(len(last), maxShared) + 1)
		rest := r.text()
		list := r.number(len(r.table.lists.ends))
		if !r.ok {
			return
		}
		name := last[:start] + r.table.text(rest)
		// An empty one would be whoever has no certificate.
		if name <= last || shared(last, name) != start {
			r.fail()
			return
		}
		names = s.add(names, name, uint32(list))
		last = name
	}
	s.index(names)
}
