package smi

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// services resolves all Services against the workloads, sorted by name. Of two
// with one address the older one keeps it.
func (r *resolver) services(instances []instance) []mesh.Service {
	if r.settings.Kubernetes {
		return r.clusterServices(instances)
	}
	byNamespace := map[string][]instance{}
	for _, i := range instances {
		byNamespace[i.Name.Namespace] = append(byNamespace[i.Name.Namespace], i)
	}
	var out []mesh.Service
	taken := addresses{}
	for _, s := range r.objects.Services {
		o := mesh.Object{Kind: KindService, Name: nameOf(s)}
		if s.Spec.Type == corev1.ServiceTypeExternalName {
			r.inert(o, "spec.type", "services of type ExternalName are not served; callers reach it as a destination outside the mesh.",
				"Remove it, or give it a selector.")
			continue
		}
		offset, ok := r.offset(o, s.Spec.ClusterIP, taken)
		if !ok || !r.portsAreValid(o, s.Spec.Ports) {
			continue
		}
		taken[offset] = o.Name
		out = append(out, mesh.Service{
			Name:   o.Name,
			Offset: offset,
			Ports:  r.servicePorts(o, s, r.selected(o, s.Spec.Selector, byNamespace[s.Namespace])),
		})
	}
	slices.SortFunc(out, func(a, b mesh.Service) int { return a.Name.Compare(b.Name) })
	return out
}

// selected returns the workloads behind a service. A selector without labels
// selects nothing: it must not turn into one that selects everything.
func (r *resolver) selected(o mesh.Object, selector map[string]string, candidates []instance) []instance {
	if len(selector) == 0 {
		r.inert(o, "spec.selector", "the service has no selector, so no workload stands behind it.",
			"Select workloads by their labels.")
		return nil
	}
	var out []instance
	wanted := labels.SelectorFromSet(selector)
	for _, c := range candidates {
		if wanted.Matches(labels.Set(c.labels)) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		r.inert(o, "spec.selector",
			fmt.Sprintf("no usable Workload in namespace %s carries the labels %s, so nothing answers for the service.", o.Name.Namespace, wanted),
			"Compare the labels of your workloads.")
	}
	return out
}

// maxPorts bounds the listeners that one object asks every sidecar for.
const maxPorts = 1_000

// portsAreValid reports ports that no proxy could listen on.
func (r *resolver) portsAreValid(o mesh.Object, ports []corev1.ServicePort) bool {
	if len(ports) > maxPorts {
		r.broken(o, "spec.ports", fmt.Sprintf("%d ports are listed, and every sidecar would listen on each; %d is the most.", len(ports), maxPorts),
			"Split the service.")
		return false
	}
	valid, seen := true, map[int32]bool{}
	for i, p := range ports {
		field := fmt.Sprintf("spec.ports[%d].port", i)
		switch {
		case !validPort(int(p.Port)):
			r.broken(o, field, fmt.Sprintf("%d is not a port.", p.Port), "Use a number from 1 to 65535.")
			valid = false
		case isTCP(p) && seen[p.Port]:
			r.broken(o, field, fmt.Sprintf("port %d is listed twice.", p.Port), "Remove one of the two.")
			valid = false
		}
		if isTCP(p) {
			seen[p.Port] = true
		}
	}
	return valid
}

func isTCP(p corev1.ServicePort) bool { return p.Protocol == "" || p.Protocol == corev1.ProtocolTCP }

// servicePorts keeps the ports that are served, sorted by number.
func (r *resolver) servicePorts(o mesh.Object, s *corev1.Service, selected []instance) []mesh.ServicePort {
	var out []mesh.ServicePort
	for i, p := range s.Spec.Ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		if !isTCP(p) {
			r.inert(o, field+".protocol", fmt.Sprintf("%s is not served; port %d is left out, the other ports work.", p.Protocol, p.Port),
				"Remove the port from the mesh's manifests.")
			continue
		}
		protocol := protocolOf(stringOf(p.AppProtocol), p.Name)
		out = append(out, mesh.ServicePort{
			Port:      uint16(p.Port),
			Name:      p.Name,
			Protocol:  protocol,
			Endpoints: r.endpoints(o, field+".targetPort", p, protocol, selected),
		})
	}
	slices.SortFunc(out, func(a, b mesh.ServicePort) int { return int(a.Port) - int(b.Port) })
	return out
}

// endpoints resolves a port's target on every workload behind it: by name each
// workload may have a number of its own (smi-rules 29, 67).
func (r *resolver) endpoints(o mesh.Object, field string, p corev1.ServicePort, protocol mesh.Protocol, selected []instance) []mesh.Endpoint {
	var out []mesh.Endpoint
	for _, w := range selected {
		target, ok := targetOf(p, w.Ports)
		switch {
		case !ok:
			r.inert(o, field, fmt.Sprintf("Workload %s serves no port %s, so it gets none of the service's requests.", w.Name, targetText(p)),
				"List the port in the workload's spec.ports, or set targetPort to one of those.")
			continue
		case target.Protocol.Opaque() != protocol.Opaque():
			r.inert(o, field, fmt.Sprintf("the service's port %d is read as %s, and port %d of Workload %s as %s, so it gets nothing of it.",
				p.Port, protocol, target.Port, w.Name, target.Protocol), "Give both the same appProtocol.")
			continue
		}
		out = append(out, mesh.Endpoint{
			Workload:       w.Name,
			ServiceAccount: w.ServiceAccount,
			Address:        w.Address,
			Port:           target.Port,
		})
	}
	return out
}

func targetOf(p corev1.ServicePort, ports []mesh.WorkloadPort) (mesh.WorkloadPort, bool) {
	for _, candidate := range ports {
		if p.TargetPort.Type == intstr.String {
			if candidate.Name != "" && candidate.Name == p.TargetPort.StrVal {
				return candidate, true
			}
			continue
		}
		if int32(candidate.Port) == targetNumber(p) {
			return candidate, true
		}
	}
	return mesh.WorkloadPort{}, false
}

// targetNumber is the port itself where targetPort is left out.
func targetNumber(p corev1.ServicePort) int32 {
	if p.TargetPort.IntVal == 0 {
		return p.Port
	}
	return p.TargetPort.IntVal
}

func targetText(p corev1.ServicePort) string {
	if p.TargetPort.Type == intstr.String {
		return fmt.Sprintf("named %q", p.TargetPort.StrVal)
	}
	return fmt.Sprint(targetNumber(p))
}

func stringOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
