package policy

import "github.com/wasmesh/wasmesh/filters/automaton"

// accepted are the patterns of one union that accept a path, ascending.
type accepted struct{ literal, stripped []uint32 }

// accept is the path clause (smi-rules 36 to 40); see Path for why both readings
// must match.
func accept(u *automaton.Union, path Path) accepted {
	literal := u.Match(path.Literal)
	if path.Stripped == path.Literal || len(literal) == 0 {
		return accepted{literal, literal}
	}
	return accepted{literal, u.Match(path.Stripped)}
}

// pattern returns the i-th pattern that accepts the literal reading, and whether
// it accepts the other one too.
func (a accepted) pattern(i int) (pattern uint32, both bool) {
	return a.literal[i], contains(a.stripped, a.literal[i])
}

// search looks for the first match, in the table's order, that allows a request.
// It goes from the patterns that accept the path to the few matches that use
// them and whose grants are the source's.
type search struct {
	table   *Table
	request Request
	// mine are the grants of the source, ascending.
	mine  []uint32
	first use
	found bool
	// furthest is the last clause that any match came to.
	furthest Reason
}

// path tries every match whose path clause holds.
func (s *search) path(path Path) {
	s.try(s.table.usesOf(s.table.patterns))
	for _, u := range s.table.paths {
		a := accept(u, path)
		for i := range a.literal {
			if pattern, both := a.pattern(i); both {
				s.try(s.table.usesOf(int(pattern)))
			}
		}
	}
}

// try goes through the shorter of two ascending lists, the matches that use a
// pattern and the grants of the source, and looks into the other: neither the
// rules of other sources nor the source's other rules cost anything.
func (s *search) try(uses []use) {
	if len(uses) <= len(s.mine) {
		for _, u := range uses {
			if contains(s.mine, u.grant) && s.end(u) {
				return
			}
		}
		return
	}
	for _, g := range s.mine {
		for i := firstOf(uses, g); i < len(uses) && uses[i].grant == g; i++ {
			if s.end(uses[i]) {
				return
			}
		}
	}
}

// firstOf returns the index of the first use by grant g or a later one.
func firstOf(uses []use, g uint32) int {
	low, high := 0, len(uses)
	for low < high {
		if middle := int(uint(low+high) / 2); uses[middle].grant < g {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// end looks at one match and reports whether those behind it need not be looked
// at.
func (s *search) end(u use) bool {
	if s.found && u.match >= s.first.match {
		return true
	}
	t := s.table
	if !t.covers(&t.grants[u.grant], s.request.Port) {
		return false
	}
	failed := t.failed(&t.matches[u.match], &s.request)
	if failed != ReasonNone {
		s.furthest = further(s.furthest, failed)
		return false
	}
	s.first, s.found = u, true
	return true
}
