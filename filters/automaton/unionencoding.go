package automaton

// The encoding of a union, numbers being unsigned varints:
//
//	classes  as in an Automaton
//	states   the number of states, 1 to MaxUnionStates
//	start    below states
//	states'  for every state, the dead one included: the number of its set, the
//	         sets being numbered as they first appear, and at its first appearance
//	         the set: how many, and each number less the one before
//	         then, for every state but the dead one, its row
//	row      runs of classes with one target: the length less one in a byte, the target
//
// A target is 0 for the dead state and otherwise one more than the distance from
// the state, folded so that near ones are short both ways: with the order that
// Merge gives states most take one byte. Of one union there is one encoding.

// AppendTo appends the encoding to b and returns the extended slice. Equal
// unions append equal bytes. The zero Union has no encoding that DecodeUnion
// takes.
func (u *Union) AppendTo(b []byte) []byte {
	b = appendClasses(b, &u.classes)
	b = appendNumber(b, len(u.accepting))
	b = appendNumber(b, int(u.start))
	described := 1
	for s, set := range u.accepting {
		b = appendNumber(b, int(set))
		if int(set) == described {
			described++
			b = appendSet(b, u.set(set))
		}
		if s != dead {
			b = u.appendRow(b, s)
		}
	}
	return b
}

func appendSet(b []byte, set []uint32) []byte {
	b = appendNumber(b, len(set))
	last := -1
	for _, n := range set {
		b = appendNumber(b, int(n)-last-1)
		last = int(n)
	}
	return b
}

func (u *Union) appendRow(b []byte, state int) []byte {
	row := u.next[state*u.width : (state+1)*u.width]
	for from := 0; from < len(row); {
		to := from + 1
		for to < len(row) && row[to] == row[from] {
			to++
		}
		b = append(b, byte(to-from-1))
		b = appendNumber(b, foldTarget(state, int(row[from])))
		from = to
	}
	return b
}

func foldTarget(state, target int) int {
	switch {
	case target == dead:
		return 0
	case target >= state:
		return 2*(target-state) + 1
	}
	return 2 * (state - target)
}

func unfoldTarget(state, folded int) int {
	switch {
	case folded == 0:
		return dead
	case folded%2 == 1:
		return state + folded/2
	}
	return state - folded/2
}

func appendNumber(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// DecodeUnion reads one union of automata numbered below automata from the front
// of b and returns what follows it. On anything that AppendTo does not write ok
// is false. It keeps no part of b and allocates no more than MaxUnionTransitions
// allow.
func DecodeUnion(b []byte, automata int) (u *Union, rest []byte, ok bool) {
	classes, b, ok := decodeClasses(b)
	if !ok {
		return nil, nil, false
	}
	width, ordered := countClasses(&classes)
	r := unionReader{rest: b, ok: ordered, automata: automata}
	states := r.number(MaxUnionStates + 1)
	start := r.number(states)
	// A row takes two bytes or more.
	if !r.ok || states*width > MaxUnionTransitions || 2*states > len(r.rest)+2 {
		return nil, nil, false
	}
	r.u = &Union{
		classes: classes, width: width, start: uint16(start), setEnds: []uint32{0},
		next: make([]uint16, states*width), accepting: make([]uint16, states),
	}
	for s := 0; s < states && r.ok; s++ {
		r.state(s)
	}
	if !r.ok || !r.u.ordered() {
		return nil, nil, false
	}
	return r.u, r.rest, true
}

// ordered counts the sinks and reports whether they come first, and whether the
// dead state is one.
func (u *Union) ordered() bool {
	u.sinks = u.countSinks()
	for s := int(u.sinks); s < len(u.accepting); s++ {
		if !u.leaves(uint16(s)) {
			return false
		}
	}
	return u.sinks > dead
}

// unionReader reads forward; the first damaged item clears ok for good.
type unionReader struct {
	rest     []byte
	ok       bool
	automata int
	u        *Union
}

func (r *unionReader) fail() int {
	r.rest, r.ok = nil, false
	return 0
}

// number reads a varint that must be below limit, in its shortest form.
func (r *unionReader) number(limit int) int {
	n := 0
	for i := 0; i < len(r.rest) && i < 5; i++ {
		c := int(r.rest[i])
		n |= (c & 0x7f) << (7 * i)
		if c < 0x80 {
			if n < 0 || n >= limit || c == 0 && i > 0 {
				break
			}
			r.rest = r.rest[i+1:]
			return n
		}
	}
	return r.fail()
}

func (r *unionReader) state(s int) {
	set := r.number(len(r.u.setEnds) + 1)
	if r.ok && set == len(r.u.setEnds) {
		r.u.addSet(r.set())
	}
	if s == dead {
		r.ok = r.ok && set == 0
		return
	}
	r.u.accepting[s] = uint16(set)
	row := r.u.next[s*r.u.width : (s+1)*r.u.width]
	before := -1
	for len(row) > 0 && r.ok {
		if len(r.rest) == 0 || int(r.rest[0]) >= len(row) {
			r.fail()
			return
		}
		length := int(r.rest[0]) + 1
		r.rest = r.rest[1:]
		folded := r.number(2*MaxUnionStates + 2)
		target := unfoldTarget(s, folded)
		if target < 0 || target >= len(r.u.accepting) || target == before || target == dead && folded != 0 {
			r.fail()
			return
		}
		for i := range length {
			row[i] = uint16(target)
		}
		row, before = row[length:], target
	}
}

// set reads an ascending list that is not empty.
func (r *unionReader) set() []uint32 {
	n := r.number(len(r.rest) + 1)
	if n == 0 {
		r.fail()
		return nil
	}
	set := make([]uint32, 0, n)
	last := -1
	for range n {
		last += 1 + r.number(r.automata-last-1)
		if !r.ok {
			return nil
		}
		set = append(set, uint32(last))
	}
	return set
}
