package automaton

// Limits of one union, which Merge keeps and DecodeUnion enforces.
const (
	// MaxUnionStates keeps a state's number within 16 bits.
	MaxUnionStates = 1<<16 - 1
	// MaxUnionTransitions is the largest number of states times byte classes: a
	// union costs a filter at most about 2 MiB.
	MaxUnionTransitions = 1 << 20
)

// A Union runs several automata, each with a number, in one pass over a string.
// It is immutable and safe for concurrent use. The zero value accepts nothing.
type Union struct {
	// classes and width are as in Automaton.
	classes [256]uint8
	width   int
	// next holds the state after reading a byte, at state*width+class.
	next []uint16
	// members are the distinct sets of automata that accept, each ascending, one
	// after the other; setEnds says where each ends, and the first is the empty
	// one. accepting tells which one a state stands for.
	members   []uint32
	setEnds   []uint32
	accepting []uint16
	start     uint16
	// sinks is the number of states that no byte leaves. They come first, the dead
	// one in front, so that one comparison tells that the rest of a long string
	// need not be read.
	sinks uint16
}

// Match returns the numbers of the automata that accept the whole of s,
// ascending. It allocates nothing and reads at most len(s) bytes; the result
// must not be changed.
func (u *Union) Match(s string) []uint32 {
	if len(u.accepting) == 0 {
		return nil
	}
	state, next := u.start, u.next
	for i := 0; i < len(s) && state >= u.sinks; i++ {
		state = next[int(state)*u.width+int(u.classes[s[i]])]
	}
	return u.set(u.accepting[state])
}

func (u *Union) set(n uint16) []uint32 {
	if n == 0 {
		return nil
	}
	return u.members[u.setEnds[n-1]:u.setEnds[n]]
}

// addSet returns the number of a set that is not there yet.
func (u *Union) addSet(set []uint32) uint16 {
	u.members = append(u.members, set...)
	u.setEnds = append(u.setEnds, uint32(len(u.members)))
	return uint16(len(u.setEnds) - 1)
}

// Transitions returns states times byte classes: the measure of what a union
// costs.
func (u *Union) Transitions() int { return len(u.next) }

// leaves reports whether some byte leads out of a state.
func (u *Union) leaves(state uint16) bool {
	row := int(state) * u.width
	return !leadsOnlyTo(u.next[row:row+u.width], state)
}

// arrange returns u with its states and sets in canonical order: the dead state,
// the other sinks, then states as they are first met from the start, each
// followed by what lies behind it. A string is mostly matched by states that lie
// side by side, and the encoding is short.
func (u *Union) arrange() *Union {
	order := u.visit()
	numbers := make([]uint16, len(u.accepting))
	for n, s := range order {
		numbers[s] = uint16(n)
	}
	out := &Union{
		classes: u.classes, width: u.width, start: numbers[u.start],
		next: make([]uint16, 0, len(order)*u.width), setEnds: []uint32{0},
	}
	setNumbers := make([]uint16, len(u.setEnds))
	for _, s := range order {
		row := int(s) * u.width
		for _, to := range u.next[row : row+u.width] {
			out.next = append(out.next, numbers[to])
		}
		set := u.accepting[s]
		if set != 0 && setNumbers[set] == 0 {
			setNumbers[set] = out.addSet(u.set(set))
		}
		out.accepting = append(out.accepting, setNumbers[set])
	}
	out.sinks = out.countSinks()
	return out
}

// visit lists the states that can be reached in canonical order.
func (u *Union) visit() []uint16 {
	seen := make([]bool, len(u.accepting))
	sinks, others := []uint16{dead}, []uint16{}
	seen[dead] = true
	stack := []uint16{u.start}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		if !u.leaves(s) {
			sinks = append(sinks, s)
			continue
		}
		others = append(others, s)
		row := int(s) * u.width
		for c := u.width - 1; c >= 0; c-- {
			if to := u.next[row+c]; !seen[to] {
				stack = append(stack, to)
			}
		}
	}
	return append(sinks, others...)
}

// countSinks returns how many of the first states no byte leaves.
func (u *Union) countSinks() uint16 {
	n := uint16(0)
	for int(n) < len(u.accepting) && !u.leaves(n) {
		n++
	}
	return n
}
