package scenarios

import (
	"regexp"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// permissively is a scenario as it has to be where nothing is enforced: the
// control experiment of every denial. All that was denied passes, so it was the
// policy that denied it and nothing else.
func permissively(s scenario) scenario {
	s.steps = slices.Clone(s.steps)
	for i, step := range s.steps {
		s.steps[i].policy = relaxed(step.policy)
		s.steps[i].requests = nil
		for _, r := range step.requests {
			if r.want = r.want.permissive(); !r.outside() { // whom no mode concerns
				s.steps[i].requests = append(s.steps[i].requests, r)
			}
		}
	}
	return s
}

// relaxed turns the mode in a policy, or adds the label that sets it.
func relaxed(policy []byte) []byte {
	const label = smi.ModeLabel + ": permissive"
	switch {
	case anyMode.Match(policy):
		return anyMode.ReplaceAll(policy, []byte(label))
	case labelled.Match(policy):
		return labelled.ReplaceAll(policy, []byte("${0}"+label+", "))
	}
	return append(slices.Clone(policy), "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: "+serverNamespace+", labels: {"+label+"}}\n"...)
}

var (
	anyMode  = regexp.MustCompile(regexp.QuoteMeta(smi.ModeLabel) + `: \w+`)
	labelled = regexp.MustCompile(`kind: Namespace\nmetadata: \{name: ` + serverNamespace + `, labels: \{`)
)
