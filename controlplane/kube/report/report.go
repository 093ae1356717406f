// Package report decides what is told on the objects that people wrote: which
// events and conditions follow from which problems, and when.
//
// It is pure: time comes in as a value, and what it decides comes out as one.
// It never writes to the API, never tells the same twice, and never tells more
// than its budget, whatever goes wrong in the mesh.
package report

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Note is one thing to tell on one object. Two notes are the same if they are
// equal.
type Note struct {
	Object mesh.Object
	// UID is which object of that name it is, where that is known.
	UID    string
	Effect mesh.Effect
	// Text is field, cause, what to try, and the rule that decided.
	Text string
}

const (
	// maxText is how long the message of an event may be.
	maxText = 1000
	// maxPerObject is how many notes one object gets; the last then counts the
	// rest.
	maxPerObject = 8
)

// Notes are what problems come to, sorted by object, worst first, each once.
// Problems that are of no object are told elsewhere.
func Notes(problems []mesh.Problem) []Note {
	byObject := map[mesh.Object][]Note{}
	for _, p := range problems {
		n := Note{Object: p.Object, Effect: p.Effect, Text: text(p)}
		if p.Object != (mesh.Object{}) && !slices.Contains(byObject[p.Object], n) {
			byObject[p.Object] = append(byObject[p.Object], n)
		}
	}
	var out []Note
	for _, notes := range byObject {
		slices.SortFunc(notes, compare)
		if more := len(notes) - maxPerObject + 1; more > 1 {
			notes = append(notes[:maxPerObject-1], Note{Object: notes[0].Object, Effect: notes[maxPerObject-1].Effect,
				Text: fmt.Sprintf("There are %d more problems; `wasmesh status` lists them.", more)})
		}
		out = append(out, notes...)
	}
	slices.SortFunc(out, compare)
	return out
}

func compare(a, b Note) int {
	if c := strings.Compare(a.Object.Kind, b.Object.Kind); c != 0 {
		return c
	}
	if c := a.Object.Name.Compare(b.Object.Name); c != 0 {
		return c
	}
	if a.Effect != b.Effect {
		return gravity(a.Effect) - gravity(b.Effect)
	}
	return strings.Compare(a.Text, b.Text)
}

func gravity(e mesh.Effect) int {
	return slices.Index([]mesh.Effect{mesh.Broken, mesh.Refused, mesh.Pending, mesh.Inert, mesh.Warning}, e)
}

func text(p mesh.Problem) string {
	p.Object, p.Where = mesh.Object{}, ""
	out := p.String()
	if p.Rule > 0 {
		out += fmt.Sprintf(" (smi-rules %d)", p.Rule)
	}
	if len(out) > maxText {
		out = out[:maxText-3] + "..."
	}
	return strings.ToValidUTF8(out, "?")
}

// Reason is the word that events and conditions carry for an effect.
func Reason(e mesh.Effect) string {
	switch e {
	case mesh.Broken:
		return "Invalid"
	case mesh.Inert:
		return "NoEffect"
	case mesh.Refused:
		return "Refused"
	case mesh.Pending:
		return "Pending"
	default:
		return "Questionable"
	}
}

// eventName is the same for the same note: whoever tells it, there is one event.
func eventName(n Note) string {
	sum := sha256.Sum256([]byte(n.UID + "\n" + n.Object.Kind + "\n" + string(n.Effect) + "\n" + n.Text))
	name := n.Object.Name.Name
	if len(name) > 200 {
		name = strings.TrimRight(name[:200], ".-")
	}
	return fmt.Sprintf("%s.%x", name, sum[:8])
}
