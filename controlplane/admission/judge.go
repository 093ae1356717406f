package admission

import (
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// Verdict is what is said of one object. Both lists are sorted by field.
type Verdict struct {
	// Refused are problems that nothing but another edit of the object can solve.
	Refused []mesh.Problem
	// Told are the others: what is missing may come, what is odd may be meant.
	Told []mesh.Problem
}

// Judge says what becomes of an object, given as decoded JSON, in the mesh that
// around describes; nil where nothing is known of it yet. What it knows of rules
// it has from wire and smi. It writes to fields and to nothing else.
func Judge(fields map[string]any, around *smi.Objects, settings smi.Settings) Verdict {
	object, value, read := wire.Decode(fields)
	if value == nil {
		return Verdict{Refused: only(read, object, isBroken)}
	}
	_, alone := smi.Snapshot(byItself(value), settings)
	alone = only(alone, object, neverRight)
	v := Verdict{Refused: alone, Told: only(read, object, everything)}
	if around == nil {
		return v
	}
	world := beside(value, *around)
	made, problems := smi.Snapshot(world, settings)
	problems = append(problems, smi.Advice(world, settings, made)...)
	for _, p := range only(problems, object, everything) {
		if !slices.Contains(alone, p) {
			v.Told = append(v.Told, p)
		}
	}
	return v
}

// neverRight picks, of the problems that an object has by itself, those that no
// other object can solve. Two of them are Inert for the folder, where the rest of
// the object works, and refused here (smi-rules 14, 51).
func neverRight(p mesh.Problem) bool {
	switch {
	case isBroken(p):
		return true
	case p.Object.Kind == smi.KindTrafficTarget:
		return p.Field == "spec.destination.namespace"
	case p.Object.Kind == smi.KindHTTPRouteGroup:
		return strings.HasPrefix(p.Field, "spec.matches[") && strings.HasSuffix(p.Field, "].name")
	}
	return false
}

func isBroken(p mesh.Problem) bool { return p.Effect == mesh.Broken }

func everything(mesh.Problem) bool { return true }

// only keeps the problems of one object that are wanted.
func only(problems []mesh.Problem, of mesh.Object, wanted func(mesh.Problem) bool) []mesh.Problem {
	var out []mesh.Problem
	for _, p := range problems {
		if p.Object == of && wanted(p) {
			out = append(out, p)
		}
	}
	return out
}

// since keeps what an edit brings: an object that is already stored can always
// be edited in what is not to blame, or nobody could take a finalizer off it.
func since(before, after []mesh.Problem) (added, kept []mesh.Problem) {
	for _, p := range after {
		if slices.ContainsFunc(before, func(old mesh.Problem) bool { return old.Field == p.Field && old.Cause == p.Cause }) {
			kept = append(kept, p)
		} else {
			added = append(added, p)
		}
	}
	return added, kept
}
