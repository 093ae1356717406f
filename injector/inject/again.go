package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// again looks at a pod that has its sidecar already: since then, another webhook
// may have added containers, whose probes are taken too.
func again(before, pod *corev1.Pod) (*corev1.Pod, Report) {
	already := Report{Outcome: LeftAlone, Reason: "it has its sidecar already"}
	refused := func(err error) (*corev1.Pod, Report) {
		return before, Report{Outcome: Refused, Reason: err.Error()}
	}
	if err := damage(pod); err != nil {
		return refused(fmt.Errorf("it says that it has its sidecar, and %w; take the label %s and what the mesh added off, and the pod is injected anew", err, Label))
	}
	var r Report
	if err := json.Unmarshal([]byte(pod.Annotations[ReportAnnotation]), &r); err != nil {
		return refused(fmt.Errorf("annotation %s is damaged: %w; take it, the label %s and the container %s off, and the pod is injected anew",
			ReportAnnotation, err, Label, SidecarContainer))
	}
	sidecar := find(pod.Spec.InitContainers, SidecarContainer)
	probes, err := probesOf(sidecar)
	if err != nil {
		return refused(err)
	}
	names, warnings, err := takeProbes(pod, probes)
	if err != nil {
		return refused(err)
	}
	if len(names) == 0 {
		return before, already
	}
	if err := setProbes(sidecar, probes); err != nil {
		return refused(err)
	}
	r.Outcome, r.Probes, r.Warnings = Done, append(r.Probes, names...), append(r.Warnings, warnings...)
	if err := mark(pod, r); err != nil {
		return refused(err)
	}
	return pod, r
}

func isInjected(pod *corev1.Pod) bool {
	_, told := pod.Annotations[ReportAnnotation]
	return told && pod.Labels[Label] == Injected && find(pod.Spec.InitContainers, SidecarContainer) != nil
}

// damage says what a pod lacks, or has beside it, that claims to have its
// sidecar: somebody wrote a part by hand, or a later webhook took something away.
// Details of ours may differ, such as the registry of an image; without what is
// looked at here the pod would run outside of the mesh and count as a part of it.
func damage(pod *corev1.Pod) error {
	var all []error
	sidecar := find(pod.Spec.InitContainers, SidecarContainer)
	if p := sidecar.RestartPolicy; p == nil || *p != corev1.ContainerRestartPolicyAlways {
		all = append(all, fmt.Errorf("container %s does not have restartPolicy Always", SidecarContainer))
	}
	if s := sidecar.SecurityContext; s == nil || s.RunAsUser == nil || *s.RunAsUser != redirect.ProxyUID {
		all = append(all, fmt.Errorf("container %s does not run as user %d", SidecarContainer, redirect.ProxyUID))
	}
	for _, name := range volumeNames() {
		if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name }) ||
			!slices.ContainsFunc(sidecar.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name }) {
			all = append(all, fmt.Errorf("volume %s or its mount is missing", name))
		}
	}
	redirected := false
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		switch {
		case c.Name == RedirectContainer:
			redirected = true
		case c.Name != SidecarContainer:
			all = append(all, containerConflicts(c, volumeNames())...)
		case !redirected:
			all = append(all, fmt.Errorf("no container %s is before %s", RedirectContainer, SidecarContainer))
		}
	}
	return errors.Join(all...)
}
