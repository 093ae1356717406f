package identity

import "strings"

// Workload is what metrics name a peer by: all instances of one are alike.
type Workload struct {
	Namespace string
	// Kind is as Kubernetes spells it: Deployment, StatefulSet, DaemonSet, Job or
	// Pod; Workload outside of it.
	Kind string
	Name string
}

// String returns "namespace/name", as people write a workload, and the name alone
// of what is none.
func (w Workload) String() string {
	if w.Namespace == w.Name && w.Kind == w.Name {
		return w.Name
	}
	return w.Namespace + "/" + w.Name
}

// Unknown stands for a peer without a certificate of the mesh.
func Unknown() Workload { return Workload{unknown, unknown, unknown} }

const unknown = "unknown"

// The kinds of the label, and what metrics call them.
const (
	labelPod      = "pod"
	labelWorkload = "workload"
	kindPod       = "Pod"
	kindWorkload  = "Workload"
)

// maxCommonName is the longest common name in a subject (RFC 5280, appendix A.1).
const maxCommonName = 64

// Owner says of which object a pod is an instance. The zero value says nothing.
type Owner struct{ Kind, Name string }

// Fits reports whether a certificate's subject can carry the owner.
func (o Owner) Fits() bool {
	return isOwnerKind(o.Kind) && len(o.Name) <= maxCommonName && IsDNSName(o.Name)
}

// Subject is how Envoy writes the subject of a certificate that carries the owner:
// "CN=<name>,OU=<kind>" (RFC 2253).
func (o Owner) Subject() string { return "CN=" + o.Name + ",OU=" + o.Kind }

// ParseOwner reads what Subject wrote. Anything else is no owner.
func ParseOwner(subject string) (Owner, bool) {
	rest, ok := strings.CutPrefix(subject, "CN=")
	name, kind, more := strings.Cut(rest, ",OU=")
	o := Owner{Kind: kind, Name: name}
	return o, ok && more && o.Fits()
}

func isOwnerKind(kind string) bool {
	switch kind {
	case "Deployment", "StatefulSet", "DaemonSet", "Job", kindPod:
		return true
	}
	return false
}

// WorkloadOf is the workload behind a label and what the subject says of the owner.
// A pod without one is a workload of its own.
func WorkloadOf(l Label, o Owner) Workload {
	switch {
	case l.Kind == labelWorkload:
		return Workload{l.Namespace, kindWorkload, l.Name}
	case l.Kind == labelPod && o.Fits():
		return Workload{l.Namespace, o.Kind, o.Name}
	case l.Kind == labelPod:
		return Workload{l.Namespace, kindPod, l.Name}
	}
	return Unknown()
}
