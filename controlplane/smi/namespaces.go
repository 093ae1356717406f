package smi

import (
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// The labels of a Namespace by which a team adopts the mesh step by step.
const (
	// ModeLabel is enforce, audit or permissive.
	ModeLabel = "wasmesh.io/mode"
	// PlaintextLabel is strict, or grace to let callers without a sidecar in.
	PlaintextLabel = "wasmesh.io/plaintext"
	// InjectLabel is InjectEnabled where new pods get a sidecar.
	InjectLabel   = "wasmesh.io/inject"
	InjectEnabled = "enabled"
)

// adoption is how far a namespace has come.
type adoption struct {
	mode  policy.Mode
	grace bool
}

// namespaces reads the labels of all Namespaces. A value that is not known is
// told and changes nothing: it must not open a namespace that was closed.
func (r *resolver) namespaces() {
	r.adoption, r.joined = map[string]adoption{}, map[string]bool{}
	for _, n := range r.objects.Namespaces {
		o := mesh.Object{Kind: KindNamespace, Name: mesh.Name{Name: n.Name}}
		a := r.adoptionOf(n.Name)
		if text, ok := n.Labels[ModeLabel]; ok {
			if mode, known := policy.ParseMode(text); known {
				a.mode = mode
			} else {
				r.broken(o, "metadata.labels", fmt.Sprintf("%s is %q, which is no mode.", ModeLabel, text),
					"Use enforce, audit or permissive.")
			}
		}
		switch text, ok := n.Labels[PlaintextLabel]; {
		case !ok:
		case text == "strict", text == "grace":
			a.grace = text == "grace"
		default:
			r.broken(o, "metadata.labels", fmt.Sprintf("%s is %q, which says nothing.", PlaintextLabel, text),
				"Use strict or grace.")
		}
		r.adoption[n.Name] = a
		r.joined[n.Name] = n.Labels[InjectLabel] == InjectEnabled
	}
}

// adoptionOf returns what the mesh's settings say where no label does.
func (r *resolver) adoptionOf(namespace string) adoption {
	if a, ok := r.adoption[namespace]; ok {
		return a
	}
	return adoption{mode: r.settings.Mode, grace: r.settings.Grace}
}
