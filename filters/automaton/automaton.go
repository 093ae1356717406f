// Package automaton runs deterministic finite automata over bytes: the form in
// which a regular expression reaches a filter.
//
// The control plane compiles expressions (package pattern), a policy table
// carries the encoded automata, and the filter only decodes and runs them. The
// package is compiled into a Wasm guest, where memory follows code size, so it
// imports nothing: no regexp, no fmt, no encoding. It must never panic, loop or
// allocate beyond its input on any bytes that Decode is given, because in the
// guest a panic takes every stage of the filter down with it.
package automaton

// Limits that New and Decode enforce, so that one automaton costs a filter at
// most about 128 KiB, whoever wrote the table.
const (
	// MaxStates is the largest number of states, the dead one included.
	MaxStates = 4096
	// MaxTransitions is the largest number of states times byte classes.
	MaxTransitions = 1 << 16
)

// dead is the state, and the row, from which nothing is accepted any more.
const dead = 0

// An Automaton accepts a set of byte strings. It is immutable and safe for
// concurrent use. The zero value accepts nothing.
type Automaton struct {
	// classes maps each byte to its class; bytes of one class are never told
	// apart by any state, which keeps the table a few columns wide.
	classes [256]uint8
	// width is the number of classes.
	width int
	// next holds the row after reading a byte, at row+class. A row is its
	// state's number times width, which MaxTransitions keeps within 16 bits:
	// the multiplication would otherwise be a third of the time of Match.
	next []uint16
	// accepting tells for each state whether a string may end in it.
	accepting []bool
	// start is the row of the start state.
	start uint16
	// forever is the row of an accepting state that no byte leaves, or dead if
	// there is none. A pattern that is open at its end has one, and the rest of
	// a long path need not be read.
	forever uint16
}

// invalid is an error of New. A string constant needs no allocation
// and no fmt.
type invalid string

// Error says what is wrong with the automaton and what to try.
func (e invalid) Error() string { return "automaton: " + string(e) }

const (
	errStates      invalid = "has no state or more than 4096; simplify the pattern"
	errTransitions invalid = "has more than 65536 transitions; simplify the pattern"
	errShape       invalid = "its transitions are not one row per state; compile the pattern again"
	errClasses     invalid = "its byte classes are not numbered in order of their first byte; compile the pattern again"
	errStart       invalid = "its start is not one of its states; compile the pattern again"
	errTarget      invalid = "a transition leads to none of its states; compile the pattern again"
	errDead        invalid = "its state 0 is not dead; compile the pattern again"
)

// New makes an automaton of len(accepting) states. The state after byte b in
// state s is transitions[s*width+classes[b]], where width is the number of
// classes. State 0 is dead: not accepting, and every byte leads back to it.
// Classes are numbered in the order in which their first byte appears, so that
// one partition of the bytes has one spelling.
func New(classes [256]uint8, transitions []uint16, accepting []bool, start uint16) (*Automaton, error) {
	return build(classes, append([]uint16(nil), transitions...), append([]bool(nil), accepting...), start)
}

// build is New with slices that nobody else holds.
func build(classes [256]uint8, next []uint16, accepting []bool, start uint16) (*Automaton, error) {
	width, ordered := countClasses(&classes)
	switch {
	case !ordered:
		return nil, errClasses
	case len(accepting) == 0 || len(accepting) > MaxStates:
		return nil, errStates
	case len(accepting)*width > MaxTransitions:
		return nil, errTransitions
	case len(next) != len(accepting)*width:
		return nil, errShape
	case int(start) >= len(accepting):
		return nil, errStart
	case accepting[dead] || !leadsOnlyTo(next[:width], dead):
		return nil, errDead
	}
	for i, to := range next {
		if int(to) >= len(accepting) {
			return nil, errTarget
		}
		next[i] = to * uint16(width)
	}
	a := &Automaton{classes: classes, width: width, next: next, accepting: accepting, start: start * uint16(width)}
	a.forever = a.findForever()
	return a, nil
}

// Match reports whether the automaton accepts the whole of s. It allocates
// nothing and reads at most len(s) bytes.
func (a *Automaton) Match(s string) bool {
	row, next := a.start, a.next
	for i := 0; i < len(s); i++ {
		if row == dead {
			return false
		}
		if row == a.forever {
			return true
		}
		row = next[int(row)+int(a.classes[s[i]])]
	}
	return row != dead && a.accepting[int(row)/a.width]
}

// States returns the number of states, the dead one included: the measure in
// which limits and reports speak of an automaton.
func (a *Automaton) States() int { return len(a.accepting) }

// countClasses returns the number of classes, and whether each class is first
// seen right after all lower ones.
func countClasses(classes *[256]uint8) (width int, ordered bool) {
	for _, c := range classes {
		if int(c) > width {
			return 0, false
		}
		if int(c) == width {
			width++
		}
	}
	return width, true
}

// findForever returns the row of the first accepting state that no byte
// leaves, or dead.
func (a *Automaton) findForever() uint16 {
	for s, accepts := range a.accepting {
		row := s * a.width
		if accepts && leadsOnlyTo(a.next[row:row+a.width], uint16(row)) {
			return uint16(row)
		}
	}
	return dead
}

func leadsOnlyTo(row []uint16, target uint16) bool {
	for _, to := range row {
		if to != target {
			return false
		}
	}
	return true
}
