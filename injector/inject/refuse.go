package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// refused returns an error for a pod in which a sidecar cannot do its work.
func refused(pod *corev1.Pod) error {
	if c := pod.Spec.SecurityContext; c != nil && isProxy(c.RunAsUser) {
		return fmt.Errorf("spec.securityContext.runAsUser is %d, the sidecar's own user, whose connections are not redirected; choose another", redirect.ProxyUID)
	}
	for _, v := range pod.Spec.Volumes {
		if oursVolume(v.Name) {
			return fmt.Errorf("volume %s has a name of the mesh's own; choose another", v.Name)
		}
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if err := refusedContainer(c); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	return nil
}

func refusedContainer(c corev1.Container) error {
	if ours(c.Name) {
		return fmt.Errorf("the name is one of the mesh's own; choose another")
	}
	if s := c.SecurityContext; s != nil && isProxy(s.RunAsUser) {
		return fmt.Errorf("securityContext.runAsUser is %d, the sidecar's own user, whose connections are not redirected; choose another", redirect.ProxyUID)
	}
	for _, p := range c.Ports {
		if slices.Contains([]int32{redirect.OutboundPort, redirect.InboundPort, redirect.ProbesPort, redirect.HealthPort}, p.ContainerPort) {
			return fmt.Errorf("port %d is the sidecar's; have the application listen on another", p.ContainerPort)
		}
	}
	return nil
}

func isProxy(uid *int64) bool { return uid != nil && *uid == redirect.ProxyUID }
