// Package inject puts a sidecar into a pod: pod in, pod and report out.
//
// It is pure, and it is the only place that knows what an injected pod looks
// like: the webhook and `wasmesh inject` both call it. It never changes the pod
// it is given, never guesses at an annotation that it cannot read, and never
// touches a container of the application but for its probes.
package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What marks namespaces and pods.
const (
	// NamespaceLabel, with the value Enabled, opts a namespace in.
	NamespaceLabel = "wasmesh.io/inject"
	// Annotation, with the value Disabled, opts a pod out.
	Annotation = "wasmesh.io/inject"
	Enabled    = "enabled"
	Disabled   = "disabled"

	// SidecarLabel, with the value SidecarInjected, is on pods that have a sidecar.
	SidecarLabel    = "wasmesh.io/sidecar"
	SidecarInjected = "injected"
	// ReportAnnotation holds the Report, as JSON.
	ReportAnnotation = "wasmesh.io/injection"
)

// Report says what was done to a pod.
type Report struct {
	// Injected is false for a pod that was left as it was; Reason says why.
	Injected bool   `json:"injected"`
	Reason   string `json:"reason,omitempty"`
	// Version is that of the sidecar's image.
	Image string `json:"image,omitempty"`
	// Notes say what the owner of the pod may want to know.
	Notes []string `json:"notes,omitempty"`
}

// Pod returns the pod with a sidecar, or the very same pod and a reason. An error
// names what in the pod cannot work, and what to try; such a pod must not start.
// To inject twice is to inject once.
func Pod(pod *corev1.Pod, s Settings) (*corev1.Pod, Report, error) {
	wanted, err := asked(pod)
	if err != nil {
		return nil, Report{}, err
	}
	if reason := leftAlone(pod, wanted); reason != "" {
		return pod, Report{Reason: reason}, nil
	}
	out := pod.DeepCopy()
	known, err := takeOut(out)
	if err != nil {
		return nil, Report{}, err
	}
	if err := refused(out); err != nil {
		return nil, Report{}, err
	}
	exclusions, err := exclusionsOf(out)
	if err != nil {
		return nil, Report{}, err
	}
	probes, notes, err := redirectProbes(out, known)
	if err != nil {
		return nil, Report{}, err
	}
	report := Report{Injected: true, Image: s.Image, Notes: append(notes, exclusions.notes()...)}
	if err := put(out, s, exclusions, probes, report); err != nil {
		return nil, Report{}, err
	}
	return out, report, nil
}

// asked reads the pod's own wish; the default is to inject.
func asked(pod *corev1.Pod) (bool, error) {
	switch v := pod.Annotations[Annotation]; v {
	case "", Enabled:
		return true, nil
	case Disabled:
		return false, nil
	default:
		return false, fmt.Errorf("annotation %s: %q is neither %s nor %s", Annotation, clip(v), Enabled, Disabled)
	}
}

// leftAlone says why a pod gets no sidecar; empty: it gets one.
func leftAlone(pod *corev1.Pod, wanted bool) string {
	switch {
	case !wanted:
		return "its annotation " + Annotation + " says " + Disabled
	case pod.Spec.HostNetwork:
		return "it uses the node's own network (hostNetwork), where no connection can be told to be its own"
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows:
		return "it runs on Windows, for which there is no redirection"
	}
	return ""
}

// put adds all that belongs to the mesh.
func put(pod *corev1.Pod, s Settings, e exclusions, probes appProbes, report Report) error {
	sidecar, err := sidecarOf(s, probes)
	if err != nil {
		return err
	}
	pod.Spec.InitContainers = append([]corev1.Container{redirection(s, e), sidecar}, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, volumes()...)
	text, err := encode(report)
	if err != nil {
		return err
	}
	if pod.Labels = maps.Clone(pod.Labels); pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[SidecarLabel] = SidecarInjected
	if pod.Annotations = maps.Clone(pod.Annotations); pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[ReportAnnotation] = text
	return nil
}

// takeOut removes what an earlier injection put in, and returns the probes as
// they were before it.
func takeOut(pod *corev1.Pod) (appProbes, error) {
	known := appProbes{}
	if pod.Labels[SidecarLabel] != SidecarInjected || pod.Annotations[ReportAnnotation] == "" {
		return known, nil
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name != SidecarContainer {
			continue
		}
		var err error
		if known, err = probesIn(c.Args); err != nil {
			return nil, fmt.Errorf("container %s: %w; take annotation %s and the mesh's containers out of the pod", c.Name, err, ReportAnnotation)
		}
	}
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return ours(c.Name) })
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return oursVolume(v.Name) })
	return known, nil
}

func ours(container string) bool {
	return container == RedirectContainer || container == SidecarContainer
}

func oursVolume(name string) bool {
	return slices.ContainsFunc(volumes(), func(v corev1.Volume) bool { return v.Name == name })
}

// clip keeps a text of a megabyte from filling logs.
func clip(text string) string {
	const longest = 100
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}
