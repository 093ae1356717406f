package wire

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// tolerateTopLevelMatches moves matches under spec where there is no spec, as
// examples of the specification leave it out (smi-rules 52).
func tolerateTopLevelMatches(fields map[string]any) []mesh.Problem {
	if _, ok := fields["spec"]; ok {
		return nil
	}
	if matches, ok := fields["matches"]; ok {
		delete(fields, "matches")
		fields["spec"] = map[string]any{"matches": matches}
	}
	return nil
}

// tolerateRoutes also brings headers into the one form that the SDK's type
// reads: a list of maps with one key each (smi-rules 49, 50).
func tolerateRoutes(fields map[string]any) []mesh.Problem {
	tolerateTopLevelMatches(fields)
	spec, _ := fields["spec"].(map[string]any)
	matches, _ := spec["matches"].([]any)
	var problems []mesh.Problem
	for i, m := range matches {
		match, _ := m.(map[string]any)
		headers, ok := match["headers"]
		if !ok || headers == nil {
			delete(match, "headers")
			continue
		}
		list, problem := headerList(headers)
		if problem.Cause != "" {
			problem.Field = fmt.Sprintf("spec.matches[%d].headers%s", i, problem.Field)
			problems = append(problems, problem)
			continue
		}
		match["headers"] = list
	}
	return problems
}

// headerList reads headers as a map or as a list of maps. The same header twice
// is refused: the type could keep only one of the two conditions.
func headerList(headers any) ([]any, mesh.Problem) {
	var maps []any
	switch h := headers.(type) {
	case map[string]any:
		maps = []any{h}
	case []any:
		maps = h
	default:
		return nil, mesh.Problem{Cause: "headers are neither a map nor a list of maps.", Try: `Write them like x-version: "v2".`}
	}
	out, seen := []any{}, map[string]bool{}
	for i, m := range maps {
		entry, ok := m.(map[string]any)
		if !ok {
			return nil, mesh.Problem{Field: fmt.Sprintf("[%d]", i), Cause: "the entry is not a map.", Try: `Write it like - x-version: "v2".`}
		}
		for _, name := range sortedKeys(entry) {
			value, isText := entry[name].(string)
			switch {
			case !isText:
				return nil, mesh.Problem{Field: "[" + name + "]", Cause: "the header's pattern is not text.", Try: "Put it in quotes."}
			case seen[name]:
				return nil, mesh.Problem{Field: "[" + name + "]", Cause: fmt.Sprintf("header %q is listed twice.", name), Try: "Join the two patterns into one."}
			}
			seen[name] = true
			out = append(out, map[string]any{name: value})
		}
	}
	return out, mesh.Problem{}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
