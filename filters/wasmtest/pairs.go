package wasmtest

import (
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	maxPairsBytes = 1 << 20
	maxPairs      = 1024
)

// Pair is one header, trailer or map entry. Names are compared in lower case,
// and pseudo headers keep their colon (":path").
type Pair struct{ Name, Value string }

// Pairs builds a list from alternating names and values; a missing last value
// is empty.
func Pairs(namesAndValues ...string) []Pair {
	var pairs []Pair
	for i := 0; i < len(namesAndValues); i += 2 {
		p := Pair{Name: namesAndValues[i]}
		if i+1 < len(namesAndValues) {
			p.Value = namesAndValues[i+1]
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// encodePairs writes the wire form: count, all sizes, then NUL-ended texts.
func encodePairs(pairs []Pair) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, p := range pairs {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Name)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Value)))
	}
	for _, p := range pairs {
		out = append(append(out, p.Name...), 0)
		out = append(append(out, p.Value...), 0)
	}
	return out
}

// decodePairs reads what a guest wrote. An error means that Envoy would have
// taken the whole map for an empty one.
func decodePairs(wire []byte) ([]Pair, error) {
	switch {
	case len(wire) == 0:
		return nil, nil
	case len(wire) > maxPairsBytes:
		return nil, fmt.Errorf("map of %d bytes exceeds %d", len(wire), maxPairsBytes)
	case len(wire) < 4:
		return nil, fmt.Errorf("map of %d bytes has no count", len(wire))
	}
	count := uint64(binary.LittleEndian.Uint32(wire))
	if count > maxPairs {
		return nil, fmt.Errorf("map of %d entries exceeds %d", count, maxPairs)
	}
	sizes, texts := wire[4:], uint64(4+8*count)
	if uint64(len(wire)) < texts {
		return nil, fmt.Errorf("map of %d entries is truncated", count)
	}
	rest := wire[texts:]
	pairs := make([]Pair, count)
	for i := range pairs {
		var ok bool
		if pairs[i].Name, rest, ok = cutText(rest, binary.LittleEndian.Uint32(sizes[8*i:])); !ok {
			return nil, fmt.Errorf("name of map entry %d is malformed", i)
		}
		if pairs[i].Value, rest, ok = cutText(rest, binary.LittleEndian.Uint32(sizes[8*i+4:])); !ok {
			return nil, fmt.Errorf("value of map entry %d is malformed", i)
		}
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("map has %d bytes after its last entry", len(rest))
	}
	return pairs, nil
}

func cutText(wire []byte, size uint32) (text string, rest []byte, ok bool) {
	if uint64(len(wire)) < uint64(size)+1 || wire[size] != 0 {
		return "", nil, false
	}
	return string(wire[:size]), wire[size+1:], true
}

// headerMap keeps pseudo headers before the others and otherwise the order of
// insertion, as Envoy's does.
type headerMap struct{ pairs []Pair }

func newHeaderMap(pairs []Pair) *headerMap {
	m := &headerMap{}
	for _, p := range pairs {
		m.add(p.Name, p.Value)
	}
	return m
}

// list returns a copy; a nil map has no pairs.
func (m *headerMap) list() []Pair {
	if m == nil {
		return nil
	}
	return append([]Pair{}, m.pairs...)
}

func (m *headerMap) get(name string) (string, bool) {
	name = strings.ToLower(name)
	for _, p := range m.pairs {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

func (m *headerMap) add(name, value string) {
	p := Pair{strings.ToLower(name), value}
	at := len(m.pairs)
	if strings.HasPrefix(name, ":") {
		for at = 0; at < len(m.pairs) && strings.HasPrefix(m.pairs[at].Name, ":"); {
			at++
		}
	}
	m.pairs = append(m.pairs, Pair{})
	copy(m.pairs[at+1:], m.pairs[at:])
	m.pairs[at] = p
}

func (m *headerMap) remove(name string) {
	name = strings.ToLower(name)
	kept := m.pairs[:0]
	for _, p := range m.pairs {
		if p.Name != name {
			kept = append(kept, p)
		}
	}
	m.pairs = kept
}

func (m *headerMap) replace(name, value string) {
	m.remove(name)
	m.add(name, value)
}

func (m *headerMap) byteSize() int {
	size := 0
	for _, p := range m.pairs {
		size += len(p.Name) + len(p.Value)
	}
	return size
}
