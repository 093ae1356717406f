package pattern

import (
	"errors"
	"regexp/syntax"
	"unicode/utf8"
)

// work counts the steps of one compilation.
type work struct{ done int }

// spend reports whether n further steps are within MaxWork.
func (w *work) spend(n int) bool {
	w.done += n
	return w.done <= MaxWork
}

// A program is an expression as the instructions of a nondeterministic
// automaton.
type program struct {
	expr  string
	inst  []syntax.Inst
	start uint32
}

// exceeds returns the error of a program that is too large.
func (p *program) exceeds(what string, limit int) error {
	return &LimitError{Expr: p.expr, What: what, Limit: limit}
}

// parse turns expr into a program. The expression is parsed on its own, never
// pasted into `^(?:...)`: text such as `a)|(b` or `\Qa` would break out of the
// wrapper, and so out of its anchor.
func parse(expr string) (*program, error) {
	p := &program{expr: expr}
	if len(expr) > MaxBytes {
		return nil, p.exceeds("bytes", MaxBytes)
	}
	if wideRanges(expr) > MaxRanges {
		return nil, p.exceeds("ranges", MaxRanges)
	}
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		var cause *syntax.Error
		if errors.As(err, &cause) && (cause.Code == syntax.ErrLarge || cause.Code == syntax.ErrNestingDepth) {
			return nil, p.exceeds("nodes", MaxNodes)
		}
		return nil, &InvalidError{Expr: expr, Cause: err}
	}
	// Measured before it is written out: the parser itself admits repetitions
	// that would take gigabytes.
	if size(re) > MaxNodes {
		return nil, p.exceeds("nodes", MaxNodes)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, &InvalidError{Expr: expr, Cause: err}
	}
	if len(prog.Inst) > maxInst {
		return nil, p.exceeds("nodes", MaxNodes)
	}
	p.inst, p.start = prog.Inst, uint32(prog.Start)
	return p, nil
}

// wideRanges counts the hyphens that may be followed by a rune beyond ASCII,
// plain or escaped. It knows no syntax, so it can only count too many.
func wideRanges(expr string) int {
	n := 0
	for i := 1; i < len(expr); i++ {
		if expr[i-1] == '-' && (expr[i] >= utf8.RuneSelf || expr[i] == '\\') {
			n++
		}
	}
	return n
}

// maxInst is what MaxNodes can grow to once loops and captures have their own
// instructions; it keeps a program counter within 16 bits.
const maxInst = 4 * MaxNodes

// size estimates the nodes of re with its repetitions written out.
func size(re *syntax.Regexp) int {
	return Weigh(re, MaxNodes, func(re *syntax.Regexp) int {
		if re.Op == syntax.OpLiteral {
			return max(1, len(re.Rune))
		}
		return 1
	})
}

// Weigh adds up what node says of each node of re, with its repetitions written
// out. It counts no further than just beyond limit, hence cannot overflow.
func Weigh(re *syntax.Regexp, limit int, node func(*syntax.Regexp) int) int {
	n := min(node(re), limit+1)
	for _, sub := range re.Sub {
		n = min(n+Weigh(sub, limit, node), limit+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min+1, re.Max)
	}
	return min(n, limit+1)
}
