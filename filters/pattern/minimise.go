package pattern

// minimise returns the dfa with all states merged that accept the same rest of
// a text. It refines a partition of the states as Hopcroft described: a block
// is split whenever only some of its states lead into another block, and of two
// halves only the smaller one is examined again, which keeps the time at
// n log n for each interval of bytes.
func (d *dfa) minimise() *dfa {
	p := newPartition(d.accepting)
	before := d.reverse()
	for len(p.waiting) > 0 {
		block := p.waiting[len(p.waiting)-1]
		p.waiting = p.waiting[:len(p.waiting)-1]
		p.listed[block] = false
		// The block may be split meanwhile; its halves together are still what
		// the others are compared against.
		into := append([]uint16(nil), p.members(block)...)
		for c := range d.bytes.count {
			for _, to := range into {
				for _, from := range before.of(c, to) {
					p.mark(from)
				}
			}
			p.splitMarked()
		}
	}
	return d.quotient(p)
}

// quotient makes one state of each block.
func (d *dfa) quotient(p *partition) *dfa {
	// Block numbers are swapped where needed to keep the dead state at 0.
	name := func(s uint16) uint16 {
		switch b := p.blockOf[s]; b {
		case p.blockOf[dead]:
			return dead
		case dead:
			return p.blockOf[dead]
		default:
			return b
		}
	}
	n := len(p.first)
	m := &dfa{
		bytes:     d.bytes,
		rows:      make([][]uint16, n),
		accepting: make([]bool, n),
		start:     name(d.start),
	}
	for b := range n {
		s := p.members(uint16(b))[0]
		row := make([]uint16, d.bytes.count)
		for c, to := range d.rows[s] {
			row[c] = name(to)
		}
		m.rows[name(s)], m.accepting[name(s)] = row, d.accepting[s]
	}
	return m
}

// reversed lists which states lead to a state: all in one slice, sorted by
// interval and target.
type reversed struct {
	states int
	from   []uint16
	// ends holds, at interval*states+target, the end of that list in from.
	ends []int32
}

func (r *reversed) of(interval int, target uint16) []uint16 {
	i := interval*r.states + int(target)
	start := int32(0)
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.from[start:r.ends[i]]
}

// reverse turns all transitions round, by counting sort.
func (d *dfa) reverse() *reversed {
	n := len(d.rows)
	r := &reversed{states: n, from: make([]uint16, n*d.bytes.count), ends: make([]int32, n*d.bytes.count)}
	for _, row := range d.rows {
		for c, to := range row {
			r.ends[c*n+int(to)]++
		}
	}
	sum := int32(0)
	for i, count := range r.ends {
		r.ends[i] = sum
		sum += count
	}
	for s, row := range d.rows {
		for c, to := range row {
			r.from[r.ends[c*n+int(to)]] = uint16(s)
			r.ends[c*n+int(to)]++
		}
	}
	return r
}

// A partition keeps the states of each block together in one slice, so that a
// split moves no more than the states that were marked.
type partition struct {
	states []uint16
	// index is where a state is in states.
	index   []uint16
	blockOf []uint16
	// first and end delimit a block; its marked states come first, up to middle.
	first, middle, end []uint16
	touched            []uint16
	// waiting lists blocks to compare against; listed tells which are in it.
	waiting []uint16
	listed  []bool
}

// newPartition separates accepting from other states. Both exist: open and dead.
func newPartition(accepting []bool) *partition {
	n := len(accepting)
	p := &partition{
		states:  make([]uint16, n),
		index:   make([]uint16, n),
		blockOf: make([]uint16, n),
	}
	for s := range n {
		p.states[s], p.index[s] = uint16(s), uint16(s)
	}
	p.append(0, uint16(n))
	p.list(0)
	for s, accepts := range accepting {
		if accepts {
			p.mark(uint16(s))
		}
	}
	p.splitMarked()
	return p
}

func (p *partition) members(block uint16) []uint16 {
	return p.states[p.first[block]:p.end[block]]
}

func (p *partition) append(first, end uint16) uint16 {
	p.first = append(p.first, first)
	p.middle = append(p.middle, first)
	p.end = append(p.end, end)
	p.listed = append(p.listed, false)
	return uint16(len(p.first) - 1)
}

func (p *partition) list(block uint16) {
	if !p.listed[block] {
		p.listed[block] = true
		p.waiting = append(p.waiting, block)
	}
}

// mark moves a state to the front of its block. Marking it again does nothing.
func (p *partition) mark(s uint16) {
	b := p.blockOf[s]
	i, m := p.index[s], p.middle[b]
	if i < m {
		return
	}
	if m == p.first[b] {
		p.touched = append(p.touched, b)
	}
	p.states[i], p.states[m] = p.states[m], s
	p.index[p.states[i]], p.index[s] = i, m
	p.middle[b]++
}

// splitMarked makes the marked states of each block a block of their own,
// unless that is all of them, and unmarks them.
func (p *partition) splitMarked() {
	for _, b := range p.touched {
		first, middle := p.first[b], p.middle[b]
		p.middle[b] = first
		if middle == p.end[b] {
			continue
		}
		marked := p.append(first, middle)
		p.first[b], p.middle[b] = middle, middle
		for _, s := range p.members(marked) {
			p.blockOf[s] = marked
		}
		if p.listed[b] || middle-first <= p.end[b]-middle {
			p.list(marked)
		} else {
			p.list(b)
		}
	}
	p.touched = p.touched[:0]
}
