package pattern

import (
	"regexp/syntax"
	"slices"
	"unicode"
)

// complete is the node at which the encoding of a rune ends.
const complete = 0

// encodings is a graph of the byte sequences that encode the runes of an
// expression. From one root per set of runes, every path to complete is the
// UTF-8 of one rune of the set. Equal parts are shared among all sets: without
// that, `\pL` alone would take thousands of nodes.
type encodings struct {
	nodes [][]edge
	known map[string]uint16
	roots map[string]uint16
	work  *work
}

// An edge is taken by the bytes lo to hi.
type edge struct {
	lo, hi byte
	to     uint16
}

// A span is the runes, or offsets within a block of runes, lo to hi.
type span struct{ lo, hi rune }

func newEncodings(w *work) *encodings {
	return &encodings{
		nodes: make([][]edge, 1),
		known: make(map[string]uint16),
		roots: make(map[string]uint16),
		work:  w,
	}
}

// ByteRange is the bytes from Low to High, both included.
type ByteRange struct{ Low, High byte }

// Encodings returns the UTF-8 of the runes from low to high: the encodings of one
// element are all combinations of a byte from each of its ranges. Surrogates have
// no encoding, and a range that is empty has none.
func Encodings(low, high rune) [][]ByteRange {
	if low > high {
		return nil
	}
	e := newEncodings(&work{})
	root, ok := e.root([]span{{low, high}})
	if !ok {
		return nil // one range takes a few dozen steps
	}
	return e.sequences(nil, nil, root)
}

// sequences appends every path from node to complete, behind the ranges before.
func (e *encodings) sequences(out [][]ByteRange, before []ByteRange, node uint16) [][]ByteRange {
	for _, d := range e.nodes[node] {
		path := append(slices.Clone(before), ByteRange{d.lo, d.hi})
		if d.to == complete {
			out = append(out, path)
			continue
		}
		out = e.sequences(out, path, d.to)
	}
	return out
}

// A length describes the runes whose encodings are equally long.
type length struct {
	runes span
	// shift is the number of bits in the bytes after the first.
	shift uint
	// lead is the first byte of an encoding without the bits of the rune.
	lead byte
}

// lengths lists all runes. Surrogates have no encoding. Cutting a set along
// these lines also rules out overlong encodings.
func lengths() [5]length {
	return [...]length{
		{span{0, 0x7f}, 0, 0},
		{span{0x80, 0x7ff}, 6, 0xc0},
		{span{0x800, 0xd7ff}, 12, 0xe0},
		{span{0xe000, 0xffff}, 12, 0xe0},
		{span{0x10000, unicode.MaxRune}, 18, 0xf0},
	}
}

// root returns the node from which the runes of set are read. The set is
// sorted and its spans do not overlap.
func (e *encodings) root(set []span) (node uint16, ok bool) {
	key := make([]byte, 0, 8*len(set))
	for _, s := range set {
		key = append(key, byte(s.lo), byte(s.lo>>8), byte(s.lo>>16), byte(s.hi), byte(s.hi>>8), byte(s.hi>>16))
	}
	if !e.work.spend(len(set)) {
		return 0, false
	}
	if node, ok = e.roots[string(key)]; ok {
		return node, true
	}
	var edges []edge
	for _, l := range lengths() {
		if edges, ok = e.split(edges, clip(set, l.runes), l.shift, l.lead); !ok {
			return 0, false
		}
	}
	if node, ok = e.intern(edges); ok {
		e.roots[string(key)] = node
	}
	return node, ok
}

// split appends an edge for each value of the bits from shift upwards that
// occurs in set. Its byte is lead plus that value, and it leads to the node
// that reads the lower bits. Neighbours with one target become one edge. Split
// owns set and changes it.
func (e *encodings) split(edges []edge, set []span, shift uint, lead byte) ([]edge, bool) {
	size := rune(1) << shift
	for len(set) > 0 {
		first := set[0].lo >> shift
		last, rest := first, []span{{0, size - 1}}
		if set[0].lo%size == 0 && set[0].hi-set[0].lo >= size-1 {
			// Whole blocks are taken together, or `.` would visit a million.
			last = (set[0].hi+1)>>shift - 1
		} else {
			rest = clip(set, span{first << shift, (first+1)<<shift - 1})
			for i := range rest {
				rest[i].lo, rest[i].hi = rest[i].lo-first<<shift, rest[i].hi-first<<shift
			}
		}
		to, ok := e.tail(rest, shift)
		if !ok {
			return nil, false
		}
		set = after(set, (last+1)<<shift-1)
		next := edge{lead + byte(first), lead + byte(last), to}
		if n := len(edges); n > 0 && edges[n-1].to == to && edges[n-1].hi+1 == next.lo {
			edges[n-1].hi = next.hi
			continue
		}
		edges = append(edges, next)
	}
	return edges, true
}

// tail returns the node that reads the lower bits, below shift, in
// continuation bytes.
func (e *encodings) tail(set []span, shift uint) (node uint16, ok bool) {
	if shift == 0 {
		return complete, true
	}
	edges, ok := e.split(nil, set, shift-6, 0x80)
	if !ok {
		return 0, false
	}
	return e.intern(edges)
}

// intern returns the one node with these edges.
func (e *encodings) intern(edges []edge) (node uint16, ok bool) {
	if !e.work.spend(nodeWork + len(edges)) {
		return 0, false
	}
	key := make([]byte, 0, 4*len(edges))
	for _, d := range edges {
		key = append(key, d.lo, d.hi, byte(d.to), byte(d.to>>8))
	}
	if node, ok = e.known[string(key)]; ok {
		return node, true
	}
	node = uint16(len(e.nodes))
	e.nodes = append(e.nodes, edges)
	e.known[string(key)] = node
	return node, true
}

// nodeWork is what a node costs. Beside the memory it stands for, it keeps the
// number of nodes within 16 bits: MaxWork runs out first.
const nodeWork = MaxWork>>16 + 1

// clip returns a new list of the parts of set that lie within w. It looks at
// no more of set than that.
func clip(set []span, w span) []span {
	var in []span
	for _, s := range set {
		if s.lo > w.hi {
			break
		}
		if s.hi >= w.lo {
			in = append(in, span{max(s.lo, w.lo), min(s.hi, w.hi)})
		}
	}
	return in
}

// after removes what lies up to and including last from the front of set.
func after(set []span, last rune) []span {
	for len(set) > 0 && set[0].hi <= last {
		set = set[1:]
	}
	if len(set) > 0 {
		set[0].lo = max(set[0].lo, last+1)
	}
	return set
}

// runes returns the set that an instruction consumes, or false if it consumes
// none.
func runes(in *syntax.Inst) ([]span, bool) {
	switch in.Op {
	case syntax.InstRuneAny:
		return []span{{0, unicode.MaxRune}}, true
	case syntax.InstRuneAnyNotNL:
		return []span{{0, '\n' - 1}, {'\n' + 1, unicode.MaxRune}}, true
	case syntax.InstRune1, syntax.InstRune:
	default:
		return nil, false
	}
	if len(in.Rune) == 1 {
		return single(in.Rune[0], syntax.Flags(in.Arg)&syntax.FoldCase != 0), true
	}
	set := make([]span, 0, len(in.Rune)/2)
	for i := 0; i+1 < len(in.Rune); i += 2 {
		set = append(set, span{in.Rune[i], in.Rune[i+1]})
	}
	return set, true
}

// single returns r alone, or with every rune that differs only in case: `k`
// folds with the Kelvin sign, too.
func single(r rune, fold bool) []span {
	set := []span{{r, r}}
	if fold {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			set = append(set, span{f, f})
		}
		slices.SortFunc(set, func(a, b span) int { return int(a.lo - b.lo) })
	}
	return set
}
