package modules

import (
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Problems are what is wrong with what is wanted, in its order, as far as it is
// known. What is being inspected is no problem.
func (b Book) Problems(wanted []Wanted) []mesh.Problem {
	var out []mesh.Problem
	for _, w := range wanted {
		cause, try := b.wrong(w)
		if cause == "" {
			continue
		}
		consequence := "the module before it keeps serving."
		if _, has := b.Good[w.Name()]; !has {
			consequence = w.Without
		}
		out = append(out, mesh.Problem{
			Object: w.Object, Effect: mesh.Broken, Where: w.Where,
			Cause: fmt.Sprintf("%s; %s", cause, consequence), Try: try,
		})
	}
	return out
}

func (b Book) wrong(w Wanted) (cause, try string) {
	if w.Use.Digest == "" {
		return w.Unread, w.Try
	}
	if good, has := b.Good[w.Name()]; has && good.Equal(w.Use) {
		return "", ""
	}
	if cause, obstructed := b.Obstacles[w.Name()]; obstructed {
		return cause, "Make room, or make the folder writable; it is tried again every few seconds."
	}
	v, known := b.verdict(w.Use)
	switch {
	case !known:
		return "", ""
	case v.Unable:
		return v.Cause, "It is tried again every few seconds."
	}
	return v.Cause, w.Try
}
