// Package trim cuts Kubernetes objects down to what the mesh is made of.
//
// What is left out costs no memory, and its change is no change: a heartbeat or
// a status that nobody reads never makes work. The package is pure: it never
// asks the API and never writes to the object that it is given.
package trim

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Prefix is how the names of labels and annotations begin that are the mesh's.
const Prefix = "wasmesh.io/"

// Meta keeps what says which object it is, how old, and what others select it by.
// Of its annotations only the mesh's stay: others keep state in theirs.
func Meta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(),
		CreationTimestamp: o.GetCreationTimestamp(), DeletionTimestamp: o.GetDeletionTimestamp(),
		Labels: o.GetLabels(), Annotations: ours(o.GetAnnotations()),
	}
}

func ours(annotations map[string]string) map[string]string {
	var out map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, Prefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// Same compares two objects of one kind as the mesh sees them. Two forms of
// nothing, such as an empty list and none, are the same.
func Same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// Service keeps addresses, ports and what it selects.
func Service(s *corev1.Service) *corev1.Service {
	return &corev1.Service{ObjectMeta: Meta(s), Spec: corev1.ServiceSpec{
		Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs,
		Ports: servicePorts(s.Spec.Ports), Selector: s.Spec.Selector, ExternalName: s.Spec.ExternalName,
		PublishNotReadyAddresses: s.Spec.PublishNotReadyAddresses,
	}}
}

func servicePorts(ports []corev1.ServicePort) []corev1.ServicePort {
	out := make([]corev1.ServicePort, len(ports))
	for i, p := range ports {
		out[i] = corev1.ServicePort{Name: p.Name, Protocol: p.Protocol, AppProtocol: p.AppProtocol, Port: p.Port, TargetPort: p.TargetPort}
	}
	return out
}

// Pod keeps who it is, whose, where, and which ports its containers name. Whether
// it is ready is told by the EndpointSlices.
func Pod(p *corev1.Pod) *corev1.Pod {
	meta := Meta(p)
	meta.OwnerReferences = controller(p)
	return &corev1.Pod{
		ObjectMeta: meta,
		Spec: corev1.PodSpec{
			ServiceAccountName: p.Spec.ServiceAccountName, HostNetwork: p.Spec.HostNetwork,
			InitContainers: containers(p.Spec.InitContainers), Containers: containers(p.Spec.Containers),
		},
		Status: corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
}

// controller keeps of an object's owners the one that metrics name it by.
func controller(o metav1.Object) []metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil {
		return nil
	}
	return []metav1.OwnerReference{{Kind: owner.Kind, Name: owner.Name, Controller: owner.Controller}}
}

func containers(all []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(all))
	for i, c := range all {
		out[i] = corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
	}
	return out
}

// EndpointSlice keeps which endpoints there are, and what may be sent to them.
func EndpointSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: Meta(s), AddressType: s.AddressType, Ports: s.Ports}
	out.Endpoints = make([]discoveryv1.Endpoint, len(s.Endpoints))
	for i, e := range s.Endpoints {
		out.Endpoints[i] = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, Hostname: e.Hostname, TargetRef: target(e.TargetRef)}
	}
	return out
}

func target(r *corev1.ObjectReference) *corev1.ObjectReference {
	if r == nil {
		return nil
	}
	return &corev1.ObjectReference{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, UID: r.UID}
}

// Account keeps that it is there.
func Account(o metav1.Object) *corev1.ServiceAccount {
	m := Meta(o)
	m.Labels = nil
	return &corev1.ServiceAccount{ObjectMeta: m}
}

// Namespace keeps its labels.
func Namespace(o metav1.Object) *corev1.Namespace { return &corev1.Namespace{ObjectMeta: Meta(o)} }

// Fields returns a copy of a decoded object without what is nobody's writing:
// status and the bookkeeping of the API server. The parts that stay are shared.
func Fields(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for k, v := range object {
		if k != "status" {
			out[k] = v
		}
	}
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return out
	}
	kept := map[string]any{}
	for _, k := range []string{"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "labels"} {
		if v, there := metadata[k]; there {
			kept[k] = v
		}
	}
	if annotations, ok := metadata["annotations"].(map[string]any); ok {
		kept["annotations"] = oursOf(annotations)
	}
	out["metadata"] = kept
	return out
}

func oursOf(annotations map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range annotations {
		if strings.HasPrefix(k, Prefix) {
			out[k] = v
		}
	}
	return out
}
