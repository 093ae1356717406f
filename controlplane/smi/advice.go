package smi

import (
	"fmt"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/pattern"
)

// Advice returns a Warning for each match that is in force as it is written but
// probably grants more than its author meant: a path left open at its end
// (smi-rules 36) or no condition at all (smi-rules 48). It is apart from
// Snapshot because it is for a person who asks, and costs more compiling.
func Advice(objects Objects, settings Settings) []mesh.Problem {
	var out []mesh.Problem
	for _, g := range objects.HTTPRouteGroups {
		for i, m := range g.Spec.Matches {
			if p, ok := advise(m, settings); ok {
				p.Object = mesh.Object{Kind: KindHTTPRouteGroup, Name: nameOf(g)}
				p.Effect = mesh.Warning
				p.Field = fmt.Sprintf("spec.matches[%d]%s", i, p.Field)
				out = append(out, p)
			}
		}
	}
	sortProblems(out)
	return out
}

func advise(m specs.HTTPMatch, settings Settings) (mesh.Problem, bool) {
	switch {
	case m.PathRegex == "" && len(m.Methods) == 0 && len(m.Headers) == 0:
		return mesh.Problem{
			Cause: fmt.Sprintf("match %q has no condition, so it grants every request.", m.Name),
			Try:   "Add a pathRegex, methods or headers, or write pathRegex: .* to say so.",
		}, true
	case !settings.PathFull && compiles(m.PathRegex) && pattern.Unanchored(m.PathRegex):
		return mesh.Problem{
			Field: ".pathRegex",
			Cause: fmt.Sprintf("%q is anchored at the start only, so it also grants every path that goes on after it.", m.PathRegex),
			Try:   "End it with $ to grant only what it says, or with .* to say that more may follow.",
		}, true
	}
	return mesh.Problem{}, false
}

// compiles says whether a pattern grants anything; Snapshot reports it if not.
func compiles(expr string) bool {
	_, err := pattern.Path(expr)
	return err == nil
}
