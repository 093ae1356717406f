// Package pattern turns the regular expressions of SMI objects into automata.
//
// The dialect is Go's, which is RE2's: SMI names none, and both linear time and
// Envoy's own matcher point there (rule 39). The result accepts exactly the
// strings the expression describes, with one deliberate reading: text is
// UTF-8, and a byte that is not part of a valid encoding matches no rune, not
// even `.` or `[^a]`. That is RE2's reading; Go's regexp would treat such a
// byte as U+FFFD. So malformed input fails closed, and only the open end of a
// Path accepts arbitrary bytes.
//
// The package serves the control plane and is never part of a filter. It is
// pure: the same expression always gives the same automaton, byte for byte, and
// no expression, however hostile, costs more than the limits below. It must
// never accept an expression and match something else than it says.
package pattern

import (
	"bytes"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// Limits of one expression. They are counted, not timed, so that an expression
// is taken or refused alike on every machine.
const (
	// MaxBytes is the longest expression, in bytes.
	MaxBytes = 1024
	// MaxRanges is how many ranges may reach beyond ASCII. Go's parser folds the
	// case of a range rune by rune, 4 ms for a wide one, before anything else
	// could stop it.
	MaxRanges = 64
	// MaxNodes bounds the expression with its repetitions written out, in
	// instructions: `a{3}` has three.
	MaxNodes = 10_000
	// MaxStates bounds the automaton before minimisation.
	MaxStates = automaton.MaxStates
	// MaxTransitions bounds the automaton after it: states times byte classes.
	MaxTransitions = automaton.MaxTransitions
	// MaxWork bounds the steps of the construction; the hungriest expressions
	// take a tenth of a second for it on one core.
	MaxWork = 20_000_000
)

// reading is how much of a string an expression has to describe.
type reading int

const (
	// whole demands that the expression describes the string from end to end.
	whole reading = iota
	// front is satisfied when it describes some beginning of the string.
	front
)

// alphabet is the bytes of which texts may consist.
type alphabet int

const (
	everyByte alphabet = iota
	// visibleASCII is what a request target normally consists of.
	visibleASCII
)

func (a alphabet) has(b byte) bool { return a == everyByte || b >= '!' && b <= '~' }

// Path compiles a pathRegex as SMI defines it: anchored at the start of the
// path only (rule 36), as `^(?:expr)` is. So `/metrics` also accepts
// `/metrics/x` and `/metricsfoo`; an expression that ends in `$` does not.
// Whatever follows the part that expr describes may be any bytes.
// The error is an *InvalidError or a *LimitError.
func Path(expr string) (*automaton.Automaton, error) { return compile(expr, front) }

// PathFull compiles a pathRegex that must describe the whole path: the meaning
// of the mesh-wide setting `pathMatch: full` (rule 36).
// The error is an *InvalidError or a *LimitError.
func PathFull(expr string) (*automaton.Automaton, error) { return compile(expr, whole) }

// Value compiles the expression of a header, which must describe the whole
// value (rule 46): `Firefox` does not accept "Mozilla Firefox". A value that is
// not UTF-8, in Latin-1 for instance, is refused even by `.*`.
// The error is an *InvalidError or a *LimitError.
func Value(expr string) (*automaton.Automaton, error) { return compile(expr, whole) }

// Unanchored reports whether Path accepts more paths for expr than its author
// may have meant: some path that PathFull refuses, as when a closing `$` is
// missing. It compares what the two accept among strings of visible ASCII, so
// that `/books/.*` counts as closed although its `.` excludes line breaks and
// malformed UTF-8. If the comparison itself would be too large the answer is
// true, since a warning too many costs less than one too few. An expression
// that is invalid accepts nothing and is not unanchored.
func Unanchored(expr string) bool {
	p, err := parse(expr)
	if err != nil {
		return false
	}
	var opened, closed work
	open, err := build(p, front, visibleASCII, &opened)
	if err != nil {
		return true
	}
	shut, err := build(p, whole, visibleASCII, &closed)
	return err != nil || !bytes.Equal(open.AppendTo(nil), shut.AppendTo(nil))
}

func compile(expr string, r reading) (*automaton.Automaton, error) {
	p, err := parse(expr)
	if err != nil {
		return nil, err
	}
	var w work
	return build(p, r, everyByte, &w)
}

// build turns a program into the automaton for one reading of texts over a. It
// adds its steps to w.
func build(p *program, r reading, a alphabet, w *work) (*automaton.Automaton, error) {
	d, err := determinise(p, r, a, w)
	if err != nil {
		return nil, err
	}
	m, err := d.minimise().number()
	if err != nil {
		// number keeps every other rule of an automaton.
		return nil, p.exceeds("transitions", MaxTransitions)
	}
	return m, nil
}
