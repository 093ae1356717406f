package suggest

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/filters/policy"
)

const (
	// maxSiblings is how many names may stand in one place of a path before they
	// are taken for values.
	maxSiblings = 8
	// anySegment stands for such values.
	anySegment = "[^/]+"
)

// node is a segment of the paths of one kind of request, and what follows it.
type node struct {
	// stands is the segment in a pattern, label the same in the name of a match.
	stands, label string
	literal       bool
	parameters    parameters
	// values are the different segments seen here, without their parameters, and
	// suffixes these.
	values   map[string]bool
	suffixes map[string]bool
	ends     tally // of the paths that end here
	children map[string]*node
}

func newNode(stands, label string, literal bool) *node {
	return &node{stands: stands, label: label, literal: literal, values: map[string]bool{}, suffixes: map[string]bool{}, children: map[string]*node{}}
}

// parameters are what some backends drop from a segment: all after a semicolon.
type parameters int

const (
	none parameters = iota
	plain
	encoded
)

// pattern allows any parameters or none: a request passes only if the path is
// granted with them and without (see policy.Path).
func (p parameters) pattern() string {
	return [...]string{"", "(;[^/]*)?", "((;|%3[Bb])[^/]*)?"}[p]
}

// add takes in a canonical path. False: its segments cannot be told apart with
// and without their parameters.
func (n *node) add(p policy.Path, seen tally) bool {
	literal, stripped := strings.Split(p.Literal[1:], "/"), strings.Split(p.Stripped[1:], "/")
	if len(literal) != len(stripped) {
		return false
	}
	found := make([]parameters, len(literal))
	for i, segment := range literal {
		rest, ok := strings.CutPrefix(segment, stripped[i])
		switch {
		case !ok:
			return false
		case strings.HasPrefix(rest, ";"):
			found[i] = plain
		case rest != "":
			found[i] = encoded
		}
	}
	for i, segment := range literal {
		stands, label, isLiteral := classify(stripped[i])
		next := n.children[stands]
		if next == nil {
			next = newNode(stands, label, isLiteral)
			n.children[stands] = next
		}
		next.values[stripped[i]] = true
		if found[i] != none {
			next.suffixes[segment[len(stripped[i]):]] = true
		}
		next.parameters = max(next.parameters, found[i])
		n = next
	}
	n.ends.add(seen)
	return true
}

// classify says what stands for a segment in a pattern: itself, or what it looks
// like where it looks like an identifier.
func classify(segment string) (stands, label string, literal bool) {
	const lower, upper = "0123456789abcdef", "0123456789ABCDEF"
	switch {
	case segment == "":
		return "", "", true
	case strings.Trim(segment, lower[:10]) == "":
		return "[0-9]+", "id", false
	case isUUID(segment, lower):
		return "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "uuid", false
	case isUUID(segment, upper):
		return "[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", "uuid", false
	case len(segment) >= minHex && strings.Trim(segment, lower) == "":
		return "[0-9a-f]+", "hex", false
	case len(segment) >= minHex && strings.Trim(segment, upper) == "":
		return "[0-9A-F]+", "hex", false
	}
	return regexp.QuoteMeta(segment), segment, true
}

// minHex is the shortest segment taken for a number in hexadecimal: no word has
// so many letters from a to f only.
const minHex = 16

// isUUID wants 8-4-4-4-12 of the given digits.
func isUUID(segment, digits string) bool {
	parts := strings.Split(segment, "-")
	if len(parts) != 5 {
		return false
	}
	for i, length := range [...]int{8, 4, 4, 4, 12} {
		if len(parts[i]) != length || strings.Trim(parts[i], digits) != "" {
			return false
		}
	}
	return true
}

// fold makes one node of too many siblings, from the front of the paths to
// their end: what follows different values is then one as well.
func (n *node) fold() {
	names := 0
	for _, c := range n.children {
		if c.literal && c.stands != "" {
			names++
		}
	}
	if names > maxSiblings {
		folded := newNode(anySegment, "any", false)
		for stands, c := range n.children {
			if stands != "" { // what ends with a slash stays: no value stands there
				folded.merge(c)
				folded.parameters = none // any segment has its parameters in it
				delete(n.children, stands)
			}
		}
		n.children[anySegment] = folded
	}
	for _, c := range n.children {
		c.fold()
	}
}

func (n *node) merge(o *node) {
	maps.Copy(n.values, o.values)
	maps.Copy(n.suffixes, o.suffixes)
	n.ends.add(o.ends)
	n.parameters = max(n.parameters, o.parameters)
	for stands, c := range o.children {
		if mine := n.children[stands]; mine != nil {
			mine.merge(c)
		} else {
			n.children[stands] = c
		}
	}
}

// path is one pattern that came of folding.
type path struct {
	// pattern describes a whole path; labels are its segments, for a name.
	pattern string
	labels  []string
	wilds   []wild
	seen    tally
}

// wild is a place in a pattern where more fits than was seen.
type wild struct {
	stands string
	values map[string]bool
}

// paths lists what was folded, sorted by pattern.
func (n *node) paths() []path {
	var out []path
	for _, c := range n.children {
		c.walk(path{}, &out)
	}
	slices.SortFunc(out, func(a, b path) int { return strings.Compare(a.pattern, b.pattern) })
	return out
}

func (n *node) walk(before path, out *[]path) {
	p := path{pattern: before.pattern + "/" + n.stands + n.parameters.pattern()}
	p.labels = append(slices.Clone(before.labels), n.label)
	p.wilds = slices.Clone(before.wilds)
	if !n.literal {
		p.wilds = append(p.wilds, wild{n.stands, n.values})
	}
	if n.parameters != none {
		p.wilds = append(p.wilds, wild{n.parameters.pattern(), n.suffixes})
	}
	if n.ends.kinds > 0 {
		whole := p
		whole.pattern += "$"
		whole.seen = n.ends
		*out = append(*out, whole)
	}
	for _, c := range n.children {
		c.walk(p, out)
	}
}
