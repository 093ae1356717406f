package smi

import (
	"fmt"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// maxGuesses bounds what one snapshot spends on suggestions. Each looks at all
// names of a kind: 10,000 references to nothing among 10,000 names took 2 min.
const maxGuesses = 100

// guesses reports whether one more suggestion may be looked for.
func (r *resolver) guesses() bool {
	r.guessed++
	return r.guessed <= maxGuesses
}

// tryName advises on a reference to an object that does not exist: the nearest
// name in the same namespace, else the same name in another one.
func (r *resolver) tryName(missing mesh.Name, known map[mesh.Name]bool) string {
	const otherwise = "Create it, or correct the name."
	if !r.guesses() {
		return otherwise
	}
	var near []string
	elsewhere := ""
	for n := range known {
		switch {
		case n.Namespace == missing.Namespace:
			near = append(near, n.Name)
		case n.Name == missing.Name && (elsewhere == "" || n.Namespace < elsewhere):
			elsewhere = n.Namespace
		}
	}
	slices.Sort(near)
	if name, ok := Nearest(missing.Name, near); ok {
		return fmt.Sprintf("Did you mean %q?", name)
	}
	if elsewhere != "" {
		return fmt.Sprintf("There is one of that name in namespace %s.", elsewhere)
	}
	return otherwise
}

// tryWord advises on a word that is none of those known.
func (r *resolver) tryWord(missing string, known []string, otherwise string) string {
	if !r.guesses() {
		return otherwise
	}
	if name, ok := Nearest(missing, known); ok {
		return fmt.Sprintf("Did you mean %q?", name)
	}
	return otherwise
}

// Nearest returns the known name with the fewest edits, the first of equals;
// false if all are too far: a name of which more than two fifths would have to
// change is no typing mistake.
func Nearest(name string, known []string) (string, bool) {
	best, found, fewest := "", false, 0
	for _, k := range known {
		edits := distance(name, k)
		if edits > max(1, max(len(name), len(k))*2/5) || edits >= len(name) {
			continue
		}
		if !found || edits < fewest {
			best, found, fewest = k, true, edits
		}
	}
	return best, found
}

// distance counts the bytes to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
