package automaton

// Limits of Merge. They are counted, not timed, so that the same automata are
// merged alike on every machine.
const (
	// MergeBudget is how many transitions all unions of one Merge may have
	// together, unless the automata alone have more: then merging only shrinks them.
	MergeBudget = MaxUnionTransitions
	// maxMergeWork bounds the transitions that are followed, and what is tried in
	// vain: about 0.2 s.
	maxMergeWork = 1 << 24
	// tryWork is what it costs to begin a product: to look at every byte.
	tryWork = 256
)

// Merge returns unions in which each automaton, numbered as in its slice, is
// once: a single one where that stays within MergeBudget, and otherwise as few
// as are found. A string is then read once for each union, so the time to match
// stays linear in it. Few automata are merged into large ones on purpose: two
// that accept a word anywhere can need the product of their states.
func Merge(automata []*Automaton) []*Union {
	m := merger{spare: MergeBudget, work: maxMergeWork}
	singles := make([]*Union, len(automata))
	for i, a := range automata {
		singles[i] = single(a, uint32(i))
		m.spare -= singles[i].Transitions()
	}
	// What did not fit at first may fit where others have shrunk since.
	merged := m.gather(nil, m.merge(singles))
	for i, u := range merged {
		merged[i] = u.arrange()
	}
	return merged
}

// single is the union of one automaton.
func single(a *Automaton, number uint32) *Union {
	if len(a.accepting) == 0 {
		return &Union{width: 1, next: []uint16{dead}, setEnds: []uint32{0}, accepting: []uint16{0}}
	}
	u := &Union{
		classes: a.classes, width: a.width, start: uint16(a.state(a.start)),
		next: make([]uint16, len(a.next)), members: []uint32{number}, setEnds: []uint32{0, 1}, accepting: make([]uint16, len(a.accepting)),
	}
	for i, row := range a.next {
		u.next[i] = uint16(a.state(row))
	}
	for s, accepts := range a.accepting {
		if accepts {
			u.accepting[s] = 1
		}
	}
	return u
}

// merger counts what is left of the limits.
type merger struct{ spare, work int }

// merge joins neighbours first, so that unions of one size meet and a state is
// copied as often as a list of this length can be halved.
func (m *merger) merge(unions []*Union) []*Union {
	if len(unions) < 2 {
		return unions
	}
	half := len(unions) / 2
	return m.gather(m.merge(unions[:half:half]), m.merge(unions[half:]))
}

// gather joins each of more with one of unions, or puts it behind them.
func (m *merger) gather(unions, more []*Union) []*Union {
	out := append([]*Union(nil), unions...)
	for _, u := range more {
		if !m.join(out, u) {
			out = append(out, u)
		}
	}
	return out
}

// join merges u into the first of others with which it fits.
func (m *merger) join(others []*Union, u *Union) bool {
	for i, o := range others {
		if m.work <= 0 {
			return false
		}
		both := o.Transitions() + u.Transitions()
		// A union may grow, but one pair must not use up what is there for all. Where
		// nothing is left it may still shrink: patterns share how they begin.
		limit := min(both+max(m.spare, 0), 4*both+smallUnion, MaxUnionTransitions)
		m.work--
		if limit < max(o.Transitions(), u.Transitions()) {
			continue // no product is smaller than its parts
		}
		m.work -= tryWork
		p := newProduct(o, u, limit)
		joined := p.run(&m.work)
		if joined == nil {
			continue
		}
		m.spare -= joined.Transitions() - both
		others[i] = joined
		return true
	}
	return false
}

// smallUnion is a size, in transitions, that is never worth a second pass.
const smallUnion = 1 << 12

// product runs two unions side by side. A state is a pair of theirs.
type product struct {
	a, b *Union
	// ofA and ofB are the classes that make up a class.
	ofA, ofB []uint8
	limit    int
	pairs    []uint32
	known    map[uint32]uint16
	knownSet map[uint32]uint16
	out      *Union
}

func pairOf(a, b uint16) uint32 { return uint32(a)<<16 | uint32(b) }

func newProduct(a, b *Union, limit int) *product {
	p := &product{
		a: a, b: b, limit: limit, pairs: []uint32{pairOf(dead, dead)},
		known:    map[uint32]uint16{pairOf(dead, dead): dead},
		knownSet: map[uint32]uint16{pairOf(0, 0): 0},
		out:      &Union{setEnds: []uint32{0}},
	}
	classes := map[uint32]uint8{}
	for c := range p.out.classes {
		pair := pairOf(uint16(a.classes[c]), uint16(b.classes[c]))
		class, ok := classes[pair]
		if !ok {
			class = uint8(len(p.ofA))
			classes[pair] = class
			p.ofA, p.ofB = append(p.ofA, a.classes[c]), append(p.ofB, b.classes[c])
		}
		p.out.classes[c] = class
	}
	p.out.width = len(p.ofA)
	return p
}

// run returns the product, or nil if it exceeds the limit or the work left.
func (p *product) run(work *int) *Union {
	p.out.start = p.number(pairOf(p.a.start, p.b.start))
	for s := 0; s < len(p.pairs); s++ {
		if len(p.pairs)*p.out.width > p.limit || len(p.pairs) > MaxUnionStates || *work <= 0 {
			return nil
		}
		*work -= p.out.width
		a, b := uint16(p.pairs[s]>>16), uint16(p.pairs[s])
		p.out.accepting = append(p.out.accepting, p.set(p.a.accepting[a], p.b.accepting[b]))
		rowA, rowB := int(a)*p.a.width, int(b)*p.b.width
		last, n := pairOf(dead, dead), uint16(dead)
		for c := range p.ofA {
			to := pairOf(p.a.next[rowA+int(p.ofA[c])], p.b.next[rowB+int(p.ofB[c])])
			// Most classes lead where their neighbours do.
			if to != last {
				last, n = to, p.number(to)
			}
			p.out.next = append(p.out.next, n)
		}
	}
	return p.out
}

func (p *product) number(pair uint32) uint16 {
	n, ok := p.known[pair]
	if !ok {
		// It may wrap around; run then refuses the whole.
		n = uint16(len(p.pairs))
		p.known[pair] = n
		p.pairs = append(p.pairs, pair)
	}
	return n
}

// set returns the number of the union of two sets.
func (p *product) set(a, b uint16) uint16 {
	n, ok := p.knownSet[pairOf(a, b)]
	if !ok {
		n = p.out.addSet(joinSorted(p.a.set(a), p.b.set(b)))
		p.knownSet[pairOf(a, b)] = n
	}
	return n
}

// joinSorted merges two ascending lists that have nothing in common.
func joinSorted(a, b []uint32) []uint32 {
	out := make([]uint32, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
