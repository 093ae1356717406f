package policy

import "slices"

// sources is a hash table from SPIFFE IDs to the number of a list. It compares
// the full text. Its names are one text and its slots are numbers, with nothing
// in it for a garbage collector to follow.
type sources struct {
	// names holds all names one after the other, in order; ends says where each
	// ends, lists what it has.
	names string
	ends  []uint32
	lists []uint32
	// slots holds the index of a name plus one, or zero, where its hash says or
	// behind that.
	slots []uint32
	seed  uint32
}

// maxProbes is how far from its place a name may come to lie before another seed
// is tried, of which there are maxSeeds: whoever chooses the names of service
// accounts may choose them badly.
const (
	maxProbes = 32
	maxSeeds  = 16
)

// add appends a name, which must be greater than all others.
func (s *sources) add(names []byte, name string, list uint32) []byte {
	names = append(names, name...)
	s.ends = append(s.ends, uint32(len(names)))
	s.lists = append(s.lists, list)
	return names
}

// index makes the slots once all names are there.
func (s *sources) index(names []byte) {
	s.names = alias(names)
	size := 8
	for size < 2*len(s.ends) {
		size *= 2
	}
	s.slots = make([]uint32, size)
	for s.seed = 0; !s.fill() && s.seed < maxSeeds; s.seed++ {
		clear(s.slots)
	}
}

// fill reports whether every name lies near its place; with the last seed it may
// lie anywhere.
func (s *sources) fill() bool {
	for i := range s.ends {
		at := s.place(s.name(i))
		for probes := 0; s.slots[at] != 0; probes++ {
			if probes > maxProbes && s.seed < maxSeeds {
				return false
			}
			at = (at + 1) & (len(s.slots) - 1)
		}
		s.slots[at] = uint32(i) + 1
	}
	return true
}

func (s *sources) name(i int) string {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return s.names[start:s.ends[i]]
}

// list returns the number of the list that a name has.
func (s *sources) list(name string) (uint32, bool) {
	if len(s.slots) == 0 {
		return 0, false
	}
	for at := s.place(name); s.slots[at] != 0; at = (at + 1) & (len(s.slots) - 1) {
		if i := int(s.slots[at] - 1); s.name(i) == name {
			return s.lists[i], true
		}
	}
	return 0, false
}

// place hashes four bytes at a time, each step a bijection of what was before.
func (s *sources) place(name string) int {
	const prime = 0x9e3779b1
	h := s.seed*prime + uint32(len(name))
	for ; len(name) >= 4; name = name[4:] {
		h = (h ^ (uint32(name[0]) | uint32(name[1])<<8 | uint32(name[2])<<16 | uint32(name[3])<<24)) * prime
		h ^= h >> 15
	}
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * prime
		h ^= h >> 15
	}
	return int(h & uint32(len(s.slots)-1))
}

// lists are ascending lists of grants, one after the other.
type lists struct {
	ends []uint32
	all  []uint32
}

func (l *lists) add(list []uint32) {
	l.all = append(l.all, list...)
	l.ends = append(l.ends, uint32(len(l.all)))
}

func (l *lists) list(i uint32) []uint32 {
	start := uint32(0)
	if i > 0 {
		start = l.ends[i-1]
	}
	return l.all[start:l.ends[i]]
}

// contains looks into an ascending list.
func contains(list []uint32, n uint32) bool {
	_, ok := slices.BinarySearch(list, n)
	return ok
}
