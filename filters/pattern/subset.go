package pattern

import (
	"regexp/syntax"
	"slices"
)

// The two states that every dfa has.
const (
	dead = 0
	// open accepts whatever follows.
	open = 1
)

// A kind is what assertions can tell about a byte, written as a rune that
// stands for all of them.
type kind rune

const (
	edgeOfText kind = -1
	newline    kind = '\n'
	word       kind = 'a'
	other      kind = ' '
	// outside is the kind of bytes that do not occur: nothing reads them.
	outside kind = -2
)

// A place is a possible position in the expression: an instruction in the high
// half and, in the middle of a rune, a node of its encodings in the low half.
type place uint32

func at(pc uint32, node uint16) place { return place(pc<<16 | uint32(node)) }

func (p place) pc() uint32   { return uint32(p) >> 16 }
func (p place) node() uint16 { return uint16(p) }

// subsets runs the subset construction. A state is the set of places where the
// expression may be, before following its empty transitions, and the kind of
// the byte that led there: an assertion can only be judged once the byte on its
// other side is known.
type subsets struct {
	reading reading
	prog    *program
	// roots holds, for every instruction that reads a rune, its first node.
	roots     []uint16
	encodings *encodings
	bytes     intervals

	known  map[string]uint16
	states []subset
	dfa    *dfa
	work   *work

	// Scratch space: what follow has seen and found, and targets of a state.
	seen    []uint32
	round   uint32
	stack   []uint32
	found   []place
	targets [][]place
	key     []byte
}

type subset struct {
	places []place
	// before is the kind of the byte before this state.
	before kind
}

// determinise builds the automaton of p for one reading of texts over a.
func determinise(p *program, r reading, a alphabet, w *work) (*dfa, error) {
	s := &subsets{
		reading:   r,
		prog:      p,
		roots:     make([]uint16, len(p.inst)),
		encodings: newEncodings(w),
		known:     make(map[string]uint16),
		seen:      make([]uint32, len(p.inst)),
		work:      w,
	}
	for pc := range p.inst {
		if set, ok := runes(&p.inst[pc]); ok {
			if s.roots[pc], ok = s.encodings.root(set); !ok {
				return nil, p.exceeds("steps", MaxWork)
			}
		}
	}
	s.bytes = divide(p, s.encodings.nodes, a)
	s.targets = make([][]place, s.bytes.count)
	s.dfa = &dfa{bytes: s.bytes}
	return s.dfa, s.run()
}

// run expands states until there is no new one.
func (s *subsets) run() error {
	s.add(subset{before: other})
	s.add(subset{before: other})
	for _, k := range s.bytes.present {
		s.lead(s.dfa.rows[open], k)
	}
	s.dfa.accepting[open] = true
	s.dfa.start = s.add(subset{places: []place{at(s.prog.start, complete)}, before: edgeOfText})
	for state := s.dfa.start; int(state) < len(s.states); state++ {
		if len(s.states) > MaxStates {
			return s.prog.exceeds("states", MaxStates)
		}
		if s.expand(state); s.work.done > MaxWork {
			return s.prog.exceeds("steps", MaxWork)
		}
	}
	return nil
}

// expand finds where each byte leads from a state, and whether the text may end
// in it. The byte is part of the question, not only of the step: it decides
// which assertions hold in front of it.
func (s *subsets) expand(state uint16) {
	set, row := s.states[state], s.dfa.rows[state]
	_, s.dfa.accepting[state] = s.follow(set, edgeOfText)
	for i := range s.targets {
		s.targets[i] = s.targets[i][:0]
	}
	for _, next := range s.bytes.present {
		found, matched := s.follow(set, next)
		if matched && s.reading == front {
			s.lead(row, next)
			continue
		}
		s.step(found, next)
	}
	for i := range row {
		if row[i] == open {
			continue
		}
		if i > 0 && s.bytes.kinds[i] == s.bytes.kinds[i-1] && slices.Equal(s.targets[i], s.targets[i-1]) {
			row[i] = row[i-1]
			continue
		}
		row[i] = s.number(s.targets[i], s.bytes.kinds[i])
	}
	s.work.spend(len(row))
}

// lead sends every byte of a kind to the open state.
func (s *subsets) lead(row []uint16, k kind) {
	for i := range row {
		if s.bytes.kinds[i] == k {
			row[i] = open
		}
	}
}

// follow takes all empty transitions that hold between set.before and next. It
// returns the places that read a byte, and whether the expression can end here.
// The result is valid until the next call.
func (s *subsets) follow(set subset, next kind) (found []place, matched bool) {
	s.round++
	holds := syntax.EmptyOpContext(rune(set.before), rune(next))
	found = s.found[:0]
	for _, p := range set.places {
		if p.node() != complete {
			found = append(found, p)
			continue
		}
		s.stack = append(s.stack, p.pc())
		for len(s.stack) > 0 {
			pc := s.stack[len(s.stack)-1]
			s.stack = s.stack[:len(s.stack)-1]
			if s.seen[pc] == s.round {
				continue
			}
			s.seen[pc] = s.round
			s.work.spend(1)
			switch in := &s.prog.inst[pc]; in.Op {
			case syntax.InstMatch:
				matched = true
			case syntax.InstFail:
			case syntax.InstAlt, syntax.InstAltMatch:
				s.stack = append(s.stack, in.Arg, in.Out)
			case syntax.InstCapture, syntax.InstNop:
				s.stack = append(s.stack, in.Out)
			case syntax.InstEmptyWidth:
				if syntax.EmptyOp(in.Arg)&^holds == 0 {
					s.stack = append(s.stack, in.Out)
				}
			default:
				found = append(found, at(pc, s.roots[pc]))
			}
		}
	}
	s.found = found
	return found, matched
}

// step adds to targets where each place leads by bytes of kind next. Without
// work left it stops early, and run refuses the expression.
func (s *subsets) step(from []place, next kind) {
	for _, p := range from {
		for _, e := range s.encodings.nodes[p.node()] {
			to := at(p.pc(), e.to)
			if e.to == complete {
				to = at(s.prog.inst[p.pc()].Out, complete)
			}
			lo, hi := s.bytes.of[e.lo], s.bytes.of[e.hi]
			if !s.work.spend(1 + int(hi-lo)) {
				return
			}
			for i := int(lo); i <= int(hi); i++ {
				if s.bytes.kinds[i] == next {
					s.targets[i] = append(s.targets[i], to)
				}
			}
		}
	}
}

// number returns the state for a set of places after a byte of kind before.
func (s *subsets) number(places []place, before kind) uint16 {
	if len(places) == 0 {
		return dead
	}
	slices.Sort(places)
	places = slices.Compact(places)
	if !s.work.spend(sortWork * len(places)) {
		return dead
	}
	s.key = append(s.key[:0], byte(before))
	for _, p := range places {
		s.key = append(s.key, byte(p), byte(p>>8), byte(p>>16), byte(p>>24))
	}
	if n, ok := s.known[string(s.key)]; ok {
		return n
	}
	n := s.add(subset{places: slices.Clone(places), before: before})
	s.known[string(s.key)] = n
	return n
}

// sortWork weighs a place that is sorted and looked up against one that is
// only visited.
const sortWork = 4

func (s *subsets) add(set subset) uint16 {
	s.states = append(s.states, set)
	s.dfa.rows = append(s.dfa.rows, make([]uint16, s.bytes.count))
	s.dfa.accepting = append(s.dfa.accepting, false)
	return uint16(len(s.states) - 1)
}
