// Package inject puts the sidecar into a pod: the pod, its namespace and the
// settings in, the new pod and a report of what was done out.
//
// It is pure, and the same for the webhook and for a file on a laptop. A pod
// that opted in either gets all of the sidecar or is refused with a reason: it
// never gets a part, never starts without where it should have one, and what the
// package does not know of a pod is never changed.
package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// What people and programs read on pods.
const (
	// Annotation of a pod, with value Disabled, leaves it out of the mesh.
	// A namespace opts in by a label of the same name with value Enabled.
	Annotation = "wasmesh.io/inject"
	Enabled    = "enabled"
	Disabled   = "disabled"
	// Label, with value Injected, is on pods that have a sidecar.
	Label    = "wasmesh.io/sidecar"
	Injected = "injected"
	// ReportAnnotation tells, in JSON, what was done to the pod.
	ReportAnnotation = "wasmesh.io/injection"
)

// Annotations of a pod that leave connections to it and from it outside of the
// mesh: lists with commas. No policy holds there.
const (
	ExcludeInboundPorts  = "wasmesh.io/exclude-inbound-ports"
	ExcludeOutboundPorts = "wasmesh.io/exclude-outbound-ports"
	ExcludeOutboundCIDRs = "wasmesh.io/exclude-outbound-cidrs"
	ExcludeUIDs          = "wasmesh.io/exclude-uids"
)

// Names of what is added.
const (
	RedirectContainer = "wasmesh-redirect"
	SidecarContainer  = "wasmesh-sidecar"
	TokenVolume       = "wasmesh-token"
	RootsVolume       = "wasmesh-roots"
	RunVolume         = "wasmesh-run"
)

// Outcome is what became of a pod.
type Outcome string

// The three outcomes. A pod that is left alone is as it was, and allowed.
const (
	Done      Outcome = "injected"
	LeftAlone Outcome = "left alone"
	Refused   Outcome = "refused"
)

// Namespace is where the pod is to run.
type Namespace struct {
	Name string
	// Joined: it opted in.
	Joined bool
}

// Report tells what became of a pod, and why.
type Report struct {
	Outcome Outcome `json:"-"`
	// Reason says why a pod was left alone or refused.
	Reason string `json:"-"`
	// Version is that of the mesh that injected.
	Version string `json:"version"`
	// Containers are those that were added.
	Containers []string `json:"containers"`
	// Probes are those that the sidecar performs, as container/kind.
	Probes []string `json:"probes,omitempty"`
	// Warnings are what works, but perhaps not as meant.
	Warnings []string `json:"warnings,omitempty"`
}

// Pod returns the pod with its sidecar, or as it was if the report says so. What
// it is given is not changed.
func Pod(pod *corev1.Pod, ns Namespace, s Settings) (*corev1.Pod, Report) {
	alone, err := reasonAgainst(pod, ns, s)
	switch {
	case err != nil:
		return pod, Report{Outcome: Refused, Reason: err.Error()}
	case alone != "":
		return pod, Report{Outcome: LeftAlone, Reason: alone}
	}
	out := pod.DeepCopy()
	if isInjected(pod) {
		return again(pod, out)
	}
	r, err := fill(out, s)
	if err != nil {
		return pod, Report{Outcome: Refused, Reason: err.Error()}
	}
	return out, r
}

// fill adds everything.
func fill(pod *corev1.Pod, s Settings) (Report, error) {
	r := Report{Outcome: Done, Version: s.Version, Containers: []string{RedirectContainer, SidecarContainer}}
	exclusions, err := exclusionArgs(pod.Annotations)
	if err != nil {
		return r, err
	}
	if err := conflicts(pod); err != nil {
		return r, err
	}
	probes := Probes{}
	if r.Probes, r.Warnings, err = takeProbes(pod, probes); err != nil {
		return r, err
	}
	if most := longestDrain(pod); s.DrainSeconds > most {
		r.Warnings = append(r.Warnings, fmt.Sprintf("terminationGracePeriodSeconds: open connections get %d s to finish, not %d", most, s.DrainSeconds))
		s.DrainSeconds = most
	}
	sidecar, err := sidecarContainer(s, probes)
	if err != nil {
		return r, err
	}
	added := []corev1.Container{redirectContainer(s, exclusions), sidecar}
	pod.Spec.InitContainers = append(added, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, volumes()...)
	pod.Spec.ImagePullSecrets = withSecrets(pod.Spec.ImagePullSecrets, s.ImagePullSecrets)
	if s.PlaintextMetrics {
		r.Warnings = append(r.Warnings, announceMetrics(pod)...)
	}
	if n := pod.Spec.ShareProcessNamespace; n != nil && *n {
		r.Warnings = append(r.Warnings, "shareProcessNamespace: a container that runs as root can read the key of the sidecar")
	}
	return r, mark(pod, r)
}

// mark writes label and report onto the pod.
func mark(pod *corev1.Pod, r Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Labels[Label] = Injected
	pod.Annotations[ReportAnnotation] = string(text)
	return nil
}

func find(all []corev1.Container, name string) *corev1.Container {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

func withSecrets(have []corev1.LocalObjectReference, names []string) []corev1.LocalObjectReference {
	for _, name := range names {
		known := false
		for _, h := range have {
			known = known || h.Name == name
		}
		if !known {
			have = append(have, corev1.LocalObjectReference{Name: name})
		}
	}
	return have
}
