package pattern

import "github.com/wasmesh/wasmesh/filters/automaton"

// A dfa is an automaton under construction: a row of targets per state, with a
// column per interval of bytes. States dead and open are always present.
type dfa struct {
	bytes     intervals
	rows      [][]uint16
	accepting []bool
	start     uint16
}

// number gives states and byte classes their canonical order: the dead state,
// then states as they are reached from the start by ascending bytes; classes by
// their first byte. Of a minimal dfa, all expressions for one language give the
// same automaton.
func (d *dfa) number() (*automaton.Automaton, error) {
	order := []uint16{dead}
	numbers := make(map[uint16]uint16, len(d.rows))
	numbers[dead] = dead
	visit := func(s uint16) {
		if _, ok := numbers[s]; !ok {
			numbers[s] = uint16(len(order))
			order = append(order, s)
		}
	}
	visit(d.start)
	for i := 1; i < len(order); i++ {
		for _, to := range d.rows[order[i]] {
			visit(to)
		}
	}
	classOf, columns := d.mergeColumns(order)
	var classes [256]uint8
	for b := range classes {
		classes[b] = classOf[d.bytes.of[b]]
	}
	accepting := make([]bool, len(order))
	next := make([]uint16, 0, len(order)*len(columns))
	for i, s := range order {
		accepting[i] = d.accepting[s]
		for _, c := range columns {
			next = append(next, numbers[d.rows[s][c]])
		}
	}
	return automaton.New(classes, next, accepting, numbers[d.start])
}

// mergeColumns finds intervals that no state tells apart. It returns the class
// of each interval and, for each class, its first interval.
func (d *dfa) mergeColumns(states []uint16) (classOf []uint8, columns []int) {
	classOf = make([]uint8, d.bytes.count)
	known := make(map[string]uint8)
	key := make([]byte, 0, 2*len(states))
	for c := range classOf {
		key = key[:0]
		for _, s := range states {
			to := d.rows[s][c]
			key = append(key, byte(to), byte(to>>8))
		}
		class, ok := known[string(key)]
		if !ok {
			class = uint8(len(columns))
			known[string(key)] = class
			columns = append(columns, c)
		}
		classOf[c] = class
	}
	return classOf, columns
}
