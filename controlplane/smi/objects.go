package smi

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// nameOf returns the namespaced name of an object.
func nameOf(o metav1.Object) mesh.Name {
	return mesh.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func namesOf[T metav1.Object](objects []T) map[mesh.Name]bool {
	names := make(map[mesh.Name]bool, len(objects))
	for _, o := range objects {
		names[nameOf(o)] = true
	}
	return names
}

// oldestFirst returns a sorted copy. Age decides who keeps what two objects
// claim, so that a newcomer never takes it away; the name decides between twins.
func oldestFirst[T metav1.Object](objects []T) []T {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b T) int {
		at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		if c := at.Time.Compare(bt.Time); c != 0 {
			return c
		}
		return nameOf(a).Compare(nameOf(b))
	})
	return sorted
}

// broken reports that an object cannot be used as it is written.
func (r *resolver) broken(o mesh.Object, field, cause, try string) {
	r.breaks++
	r.problems = append(r.problems, mesh.Problem{Object: o, Field: field, Effect: mesh.Broken, Cause: cause, Try: try})
}

// inert reports that a part of an object has no effect for now.
func (r *resolver) inert(o mesh.Object, field, cause, try string) {
	r.problems = append(r.problems, mesh.Problem{Object: o, Field: field, Effect: mesh.Inert, Cause: cause, Try: try})
}

// rule names the row of smi-rules that decided the problem reported last.
func (r *resolver) rule(number int) { r.problems[len(r.problems)-1].Rule = number }

func sortProblems(problems []mesh.Problem) {
	slices.SortFunc(problems, func(a, b mesh.Problem) int {
		if c := strings.Compare(a.Object.Kind, b.Object.Kind); c != 0 {
			return c
		}
		if c := a.Object.Name.Compare(b.Object.Name); c != 0 {
			return c
		}
		if c := strings.Compare(a.Field, b.Field); c != 0 {
			return c
		}
		return strings.Compare(a.Cause, b.Cause)
	})
}
