package automaton

// The encoding, all numbers little-endian:
//
//	states   2 bytes, 1 to MaxStates
//	start    2 bytes, below states
//	runs     1 byte, the number of runs of bytes of one class, less one
//	run      2 bytes each: its length less one, its class
//	accept   one bit per state, lowest bit first, padded with zero bits
//	rows     for every state but the dead one, a target per class: 1 byte each
//	         with up to 256 states, 2 bytes with more
//
// It carries no version: the table around it does. Every automaton has exactly
// one encoding, so encoded bytes serve as a key and as an equality.

// AppendTo appends the encoding to b and returns the extended slice. Equal
// automata append equal bytes. The zero Automaton has no encoding that Decode
// takes.
func (a *Automaton) AppendTo(b []byte) []byte {
	states := len(a.accepting)
	start := a.state(a.start)
	b = append(b, byte(states), byte(states>>8), byte(start), byte(start>>8))
	b = appendClasses(b, &a.classes)
	for s := 0; s < states; s += 8 {
		var bits byte
		for i, accepts := range a.accepting[s:min(s+8, states)] {
			if accepts {
				bits |= 1 << i
			}
		}
		b = append(b, bits)
	}
	for i := a.width; i < len(a.next); i++ {
		to := a.state(a.next[i])
		b = append(b, byte(to))
		if targetSize(states) == 2 {
			b = append(b, byte(to>>8))
		}
	}
	return b
}

// state returns the number of the state with this row.
func (a *Automaton) state(row uint16) int {
	if row == dead {
		return dead
	}
	return int(row) / a.width
}

func appendClasses(b []byte, classes *[256]uint8) []byte {
	count := len(b)
	b = append(b, 0)
	for from := 0; from < len(classes); {
		to := from + 1
		for to < len(classes) && classes[to] == classes[from] {
			to++
		}
		b = append(b, byte(to-from-1), classes[from])
		from = to
	}
	b[count] = byte((len(b)-count-1)/2 - 1)
	return b
}

// Decode reads one automaton from the front of b and returns what follows it.
// What it accepts obeys every rule of New and is the only encoding of that
// automaton; on anything else ok is false. It keeps no part of b and allocates
// no more than a small multiple of len(b).
func Decode(b []byte) (a *Automaton, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	states := int(b[0]) | int(b[1])<<8
	start := uint16(b[2]) | uint16(b[3])<<8
	if states == 0 || states > MaxStates {
		return nil, nil, false
	}
	classes, b, ok := decodeClasses(b[4:])
	if !ok {
		return nil, nil, false
	}
	accepting, b, ok := decodeAccepting(b, states)
	if !ok {
		return nil, nil, false
	}
	width, _ := countClasses(&classes)
	next, b, ok := decodeRows(b, states, width)
	if !ok {
		return nil, nil, false
	}
	a, err := build(classes, next, accepting, start)
	if err != nil {
		return nil, nil, false
	}
	return a, b, true
}

func decodeClasses(b []byte) (classes [256]uint8, rest []byte, ok bool) {
	if len(b) == 0 {
		return classes, nil, false
	}
	runs := int(b[0]) + 1
	b = b[1:]
	if len(b) < 2*runs {
		return classes, nil, false
	}
	at := 0
	for i := 0; i < runs; i++ {
		length, class := int(b[2*i])+1, b[2*i+1]
		if at+length > len(classes) || at > 0 && classes[at-1] == class {
			return classes, nil, false
		}
		for ; length > 0; length-- {
			classes[at] = class
			at++
		}
	}
	if at != len(classes) {
		return classes, nil, false
	}
	return classes, b[2*runs:], true
}

func decodeAccepting(b []byte, states int) (accepting []bool, rest []byte, ok bool) {
	size := (states + 7) / 8
	if len(b) < size {
		return nil, nil, false
	}
	if states%8 != 0 && b[size-1]>>(states%8) != 0 {
		return nil, nil, false
	}
	accepting = make([]bool, states)
	for s := range accepting {
		accepting[s] = b[s/8]>>(s%8)&1 == 1
	}
	return accepting, b[size:], true
}

// decodeRows checks the length before it allocates: a short message must not
// make a filter reserve a large table.
func decodeRows(b []byte, states, width int) (next []uint16, rest []byte, ok bool) {
	if states*width > MaxTransitions {
		return nil, nil, false
	}
	each := targetSize(states)
	size := (states - 1) * width * each
	if len(b) < size {
		return nil, nil, false
	}
	next = make([]uint16, states*width)
	for i := 0; i < size; i += each {
		to := uint16(b[i])
		if each == 2 {
			to |= uint16(b[i+1]) << 8
		}
		next[width+i/each] = to
	}
	return next, b[size:], true
}

// targetSize is the number of bytes that one transition takes.
func targetSize(states int) int {
	if states <= 256 {
		return 1
	}
	return 2
}
