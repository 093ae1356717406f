package inject

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// reasonAgainst says why a pod is left alone, or, as an error, why it is refused
// before anything was tried.
func reasonAgainst(pod *corev1.Pod, ns Namespace, s Settings) (alone string, err error) {
	choice, chosen := pod.Annotations[Annotation]
	if chosen && choice != Enabled && choice != Disabled {
		return "", fmt.Errorf("annotation %s: %q is neither %s nor %s", Annotation, clip(choice), Enabled, Disabled)
	}
	switch {
	case ns.Name == "kube-system" || ns.Name == s.SystemNamespace:
		return fmt.Sprintf("the namespace %s must start without the mesh", ns.Name), nil
	case !ns.Joined:
		return fmt.Sprintf("the namespace %s does not have the label %s: %s", ns.Name, Annotation, Enabled), nil
	case choice == Disabled:
		return fmt.Sprintf("its annotation says %s: %s", Annotation, Disabled), nil
	case pod.Spec.HostNetwork:
		return "it uses the network of its node (hostNetwork), where nothing can be redirected", nil
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows:
		return "it is for Windows, for which there is no sidecar", nil
	}
	return "", nil
}

// exclusionArgs turns the annotations into arguments of the program that reads
// them by the same rules; what that one would refuse is refused here.
func exclusionArgs(annotations map[string]string) (args []string, err error) {
	o := redirect.Options{OutboundPort: redirect.OutboundPort, InboundPort: redirect.InboundPort, ProxyUID: redirect.ProxyUID}
	for _, a := range []struct {
		name, flag string
		read       func(string) error
	}{
		{ExcludeInboundPorts, "exclude-inbound-ports", func(t string) (err error) { o.ExcludeInboundPorts, err = redirect.ParsePorts(t); return }},
		{ExcludeOutboundPorts, "exclude-outbound-ports", func(t string) (err error) { o.ExcludeOutboundPorts, err = redirect.ParsePorts(t); return }},
		{ExcludeOutboundCIDRs, "exclude-outbound-cidrs", func(t string) (err error) { o.ExcludeOutboundCIDRs, err = redirect.ParseCIDRs(t); return }},
		{ExcludeUIDs, "exclude-uids", func(t string) (err error) { o.ExcludeUIDs, err = redirect.ParseUIDs(t); return }},
	} {
		text := annotations[a.name]
		if text == "" {
			continue
		}
		if err := a.read(text); err != nil {
			return nil, fmt.Errorf("annotation %s: %w", a.name, err)
		}
		args = append(args, "--"+a.flag, text)
	}
	if _, err := redirect.Rules(o); err != nil {
		return nil, fmt.Errorf("annotations wasmesh.io/exclude-*: %w", err)
	}
	return args, nil
}

// conflicts finds what the pod has that the sidecar needs for itself.
func conflicts(pod *corev1.Pod) error {
	names := []string{RedirectContainer, SidecarContainer}
	volumes := volumeNames()
	var all []error
	if c := pod.Spec.SecurityContext; c != nil && c.RunAsUser != nil && *c.RunAsUser == redirect.ProxyUID {
		all = append(all, errors.New("securityContext.runAsUser "+proxyUser))
	}
	for _, v := range pod.Spec.Volumes {
		if slices.Contains(volumes, v.Name) {
			all = append(all, fmt.Errorf("volume %s has a name that the mesh uses; rename it", v.Name))
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if slices.Contains(names, c.Name) {
			all = append(all, fmt.Errorf("container %s has a name that the mesh uses; rename it", c.Name))
		}
		all = append(all, containerConflicts(c, volumes)...)
	}
	return errors.Join(all...)
}

const proxyUser = "1337 is the sidecar's user, whose connections are not redirected; choose another"

func containerConflicts(c corev1.Container, volumes []string) (all []error) {
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil && *s.RunAsUser == redirect.ProxyUID {
		all = append(all, fmt.Errorf("container %s: securityContext.runAsUser %s", c.Name, proxyUser))
	}
	for _, p := range c.Ports {
		switch p.ContainerPort {
		case redirect.OutboundPort, redirect.InboundPort, redirect.ProbesPort, redirect.HealthPort:
			all = append(all, fmt.Errorf("container %s: port %d is the sidecar's; let the application listen on another one", c.Name, p.ContainerPort))
		}
	}
	for _, m := range c.VolumeMounts {
		if slices.Contains(volumes, m.Name) {
			all = append(all, fmt.Errorf("container %s mounts %s, which is the sidecar's own", c.Name, m.Name))
		}
	}
	return all
}

// clip keeps what somebody wrote from filling logs.
func clip(text string) string {
	const longest = 100
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}
