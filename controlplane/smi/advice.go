package smi

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Advice returns Warnings about what is in force as it is written but probably
// not what its author meant: a path left open at its end (smi-rules 36), a match
// with no condition at all (smi-rules 48) or with one that no request can meet, a
// target of which nothing is left, and a destination whose patterns are slow
// together. made is what Snapshot made of the same objects. It is apart from
// Snapshot because it is for a person who asks, and costs more compiling.
func Advice(objects Objects, settings Settings, made *mesh.Snapshot) []mesh.Problem {
	var out []mesh.Problem
	for _, g := range objects.HTTPRouteGroups {
		o := mesh.Object{Kind: KindHTTPRouteGroup, Name: nameOf(g)}
		for i, m := range g.Spec.Matches {
			for _, p := range advise(m, settings) {
				p.Object, p.Effect = o, mesh.Warning
				p.Field = fmt.Sprintf("spec.matches[%d]%s", i, p.Field)
				out = append(out, p)
			}
		}
	}
	out = append(out, idleTargets(objects, made)...)
	out = append(out, slowDestinations(made)...)
	sortProblems(out)
	return out
}

// advise speaks of one match that Snapshot has nothing to say about. Its fields
// are relative to the match.
func advise(m specs.HTTPMatch, settings Settings) []mesh.Problem {
	if m.PathRegex == "" && len(m.Methods) == 0 && len(m.Headers) == 0 {
		return []mesh.Problem{{
			Cause: fmt.Sprintf("match %q has no condition, so it grants every request.", m.Name),
			Try:   "Add a pathRegex, methods or headers, or write pathRegex: .* to say so.",
		}}
	}
	var out []mesh.Problem
	if p, ok := adviseOnPath(m.PathRegex, settings); ok {
		p.Field = ".pathRegex"
		out = append(out, p)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		if p, ok := adviseOnHeader(name, m.Headers[name]); ok {
			p.Field = fmt.Sprintf(".headers[%s]", name)
			out = append(out, p)
		}
	}
	return out
}

func adviseOnPath(expr string, settings Settings) (mesh.Problem, bool) {
	if expr == "" || !compiles(expr) {
		return mesh.Problem{}, false
	}
	if why, try, never := neverAPath(expr); never {
		return mesh.Problem{Cause: fmt.Sprintf("%q matches no path: %s, so the match grants nothing.", expr, why), Try: try}, true
	}
	if !settings.PathFull && pattern.Unanchored(expr) {
		return mesh.Problem{
			Cause: fmt.Sprintf("%q is anchored at the start only, so it also grants every path that goes on after it.", expr),
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

// idleTargets finds targets of which nothing is left. Why, the problems with
// their parts say; that nothing is left, none of them does.
func idleTargets(objects Objects, made *mesh.Snapshot) []mesh.Problem {
	granting := map[string]bool{}
	for _, a := range made.Access {
		for _, g := range a.Grants {
			granting[g.Name] = true
		}
	}
	var out []mesh.Problem
	for _, t := range objects.TrafficTargets {
		if name := nameOf(t); !granting[name.String()] {
			out = append(out, mesh.Problem{
				Object: mesh.Object{Kind: KindTrafficTarget, Name: name}, Effect: mesh.Warning,
				Cause: "the target as a whole grants nothing to anybody.",
				Try:   "Mend what is told of its parts, or remove it.",
			})
		}
	}
	return out
}

// slowDestinations finds those whose patterns could not be merged into one
// automaton. They are right as they are; each request is read more than once.
func slowDestinations(snapshot *mesh.Snapshot) []mesh.Problem {
	var out []mesh.Problem
	for _, a := range snapshot.Access {
		table := policy.Compile(a.Grants)
		if table.Passes() < 2 {
			continue
		}
		out = append(out, mesh.Problem{
			Object: mesh.Object{Kind: KindServiceAccount, Name: a.ServiceAccount}, Effect: mesh.Warning,
			Cause: fmt.Sprintf("the %d path patterns granted here are too large together for one automaton, so every path is read %d times.",
				table.Patterns(), table.Passes()),
			Try: "Begin patterns with a fixed path: several that look for a word anywhere, as /.*word does, multiply.",
		})
	}
	return out
}
