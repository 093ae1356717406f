package smi

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// sidecarContainer is the container that a sidecar runs in; its ports are none of
// the application's.
const sidecarContainer = "wasmesh-sidecar"

// ownPort says whether the sidecar itself listens on a port of every captured
// pod: the two that connections are redirected to, probes and health. The
// numbers are those of injector/redirect and of the sidecar's flags.
func ownPort(n int32) bool { return n == 15001 || n == 15006 || n == 15020 || n == 15021 }

// pod is a Pod and what is known of its ports while they are gathered.
type pod struct {
	*corev1.Pod
	ports map[uint16]mesh.WorkloadPort
	// said are the ports whose protocol a Service has said.
	said map[uint16]bool
}

// portsOfPods returns the ports of every captured pod, sorted: those that its
// containers declare, and those that a Service sends to. Kubernetes does not ask
// for the declaration, so a Service has to be enough. The protocol is the one that
// the oldest Service gives, else the one that the port's own name says.
func (r *resolver) portsOfPods() map[mesh.Name][]mesh.WorkloadPort {
	byLabel := podIndex{}
	var pods []*pod
	for _, p := range r.objects.Pods {
		if captured(p) {
			pods = append(pods, &pod{p, declaredPorts(p), map[uint16]bool{}})
			byLabel.add(pods[len(pods)-1])
		}
	}
	for _, s := range r.objects.Services {
		if len(s.Spec.Ports) > maxPorts {
			continue // it is left out, and told
		}
		for _, p := range byLabel.selected(s.Namespace, s.Spec.Selector) {
			p.serve(s.Spec.Ports)
		}
	}
	out := make(map[mesh.Name][]mesh.WorkloadPort, len(pods))
	for _, p := range pods {
		out[nameOf(p)] = slices.SortedFunc(maps.Values(p.ports), func(a, b mesh.WorkloadPort) int { return cmp.Compare(a.Port, b.Port) })
	}
	return out
}

// serve adds the ports that a Service sends to.
func (p *pod) serve(ports []corev1.ServicePort) {
	for _, sp := range ports {
		target, ok := p.target(sp)
		if !isTCP(sp) || !ok || p.said[target.Port] || ownPort(int32(target.Port)) {
			continue
		}
		target.Protocol = protocolOf(stringOf(sp.AppProtocol), sp.Name)
		p.ports[target.Port], p.said[target.Port] = target, true
	}
}

// target is the container port that a Service's port means in this pod.
func (p *pod) target(sp corev1.ServicePort) (mesh.WorkloadPort, bool) {
	if sp.TargetPort.Type == intstr.String {
		for _, c := range applicationPorts(p.Pod) {
			if c.Name == sp.TargetPort.StrVal && c.Name != "" {
				return mesh.WorkloadPort{Port: uint16(c.ContainerPort), Name: c.Name}, true
			}
		}
		return mesh.WorkloadPort{}, false
	}
	number := targetNumber(sp)
	if !validPort(int(number)) {
		return mesh.WorkloadPort{}, false
	}
	return mesh.WorkloadPort{Port: uint16(number), Name: p.ports[uint16(number)].Name}, true
}

// declaredPorts are the TCP ports that the containers declare, by number.
func declaredPorts(p *corev1.Pod) map[uint16]mesh.WorkloadPort {
	out := map[uint16]mesh.WorkloadPort{}
	for _, c := range applicationPorts(p) {
		n := uint16(c.ContainerPort)
		if _, twice := out[n]; !twice && !ownPort(c.ContainerPort) {
			out[n] = mesh.WorkloadPort{Port: n, Name: c.Name, Protocol: protocolOf("", c.Name)}
		}
	}
	return out
}

// applicationPorts lists the TCP ports of the containers that run beside the
// sidecar, in their order.
func applicationPorts(p *corev1.Pod) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	running := slices.Clone(p.Spec.Containers)
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			running = append(running, c)
		}
	}
	for _, c := range running {
		for _, port := range c.Ports {
			tcp := port.Protocol == "" || port.Protocol == corev1.ProtocolTCP
			if tcp && c.Name != sidecarContainer && validPort(int(port.ContainerPort)) {
				out = append(out, port)
			}
		}
	}
	return out
}

// podIndex finds the pods of a selector without looking at all of a namespace:
// 5,000 pods and 500 services would be 2.5 million comparisons for each change.
type podIndex map[labelled][]*pod

// labelled is one label with its value in one namespace.
type labelled struct{ namespace, key, value string }

func (x podIndex) add(p *pod) {
	for key, value := range p.Labels {
		at := labelled{p.Namespace, key, value}
		x[at] = append(x[at], p)
	}
}

// selected returns the pods that a selector means; one without labels means none.
func (x podIndex) selected(namespace string, selector map[string]string) []*pod {
	var fewest []*pod
	first := true
	for key, value := range selector {
		if at := x[labelled{namespace, key, value}]; first || len(at) < len(fewest) {
			fewest, first = at, false
		}
	}
	wanted := labels.SelectorFromSet(selector)
	return slices.DeleteFunc(slices.Clone(fewest), func(p *pod) bool { return !wanted.Matches(labels.Set(p.Labels)) })
}
