package pattern

import (
	"regexp/syntax"
	"slices"
)

// intervals divides the bytes into runs that an expression never tells apart.
type intervals struct {
	count int
	// of maps each byte to its interval.
	of [256]uint8
	// kinds holds the kind of the bytes of each interval.
	kinds []kind
	// present lists the kinds that occur, in the order of their first byte.
	present []kind
}

// divide cuts wherever an edge of the encodings begins or ends and wherever the
// kind changes.
func divide(p *program, nodes [][]edge, a alphabet) intervals {
	var cut [257]bool
	for _, edges := range nodes {
		for _, e := range edges {
			cut[e.lo], cut[int(e.hi)+1] = true, true
		}
	}
	asked := assertions(p)
	var v intervals
	for b := range 256 {
		k := kindOf(byte(b), asked)
		if !a.has(byte(b)) {
			k = outside
		}
		if b == 0 || cut[b] || k != v.kinds[v.count-1] {
			v.kinds = append(v.kinds, k)
			v.count++
		}
		v.of[b] = uint8(v.count - 1)
		if k != outside && !slices.Contains(v.present, k) {
			v.present = append(v.present, k)
		}
	}
	return v
}

// assertions returns all that an expression asks of the empty string.
func assertions(p *program) syntax.EmptyOp {
	var asked syntax.EmptyOp
	for i := range p.inst {
		if in := &p.inst[i]; in.Op == syntax.InstEmptyWidth {
			asked |= syntax.EmptyOp(in.Arg)
		}
	}
	return asked
}

// kindOf tells bytes apart only as far as the expression asks: each kind more
// multiplies the states. Words are ASCII, as in Go and RE2, so every byte of a
// longer encoding, and every malformed one, is none of their letters.
func kindOf(b byte, asked syntax.EmptyOp) kind {
	const (
		lines = syntax.EmptyBeginLine | syntax.EmptyEndLine
		words = syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
	)
	switch {
	case asked&lines != 0 && b == '\n':
		return newline
	case asked&words != 0 && b < 0x80 && syntax.IsWordChar(rune(b)):
		return word
	default:
		return other
	}
}
