package capture

import (
	"net/netip"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const namespace = "shop"

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
}

// podObject is a running pod with a sidecar, as the cluster would tell of it.
func podObject(s *space, ports ...corev1.ContainerPort) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: meta(s.name, map[string]string{"app": s.name, smi.SidecarLabel: smi.SidecarInjected}),
		Spec: corev1.PodSpec{ServiceAccountName: s.name, Containers: []corev1.Container{{
			Name: "app", Ports: ports,
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: s.four.String(), PodIPs: []corev1.PodIP{{IP: s.four.String()}, {IP: s.six.String()}}},
	}
}

// serviceObject selects one pod; with no cluster IPs it is headless.
func serviceObject(name, app string, clusterIPs []netip.Addr, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{ObjectMeta: meta(name, nil), Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": app}, Ports: ports,
	}}
	for i, ip := range clusterIPs {
		if i == 0 {
			s.Spec.ClusterIP = ip.String()
		}
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, ip.String())
	}
	return s
}

func servicePort(name string, port, target int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: port, TargetPort: intstr.FromInt32(target)}
}

// sliceObjects are what the cluster makes of a Service: one slice per family.
func sliceObjects(s *corev1.Service, pod *space) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for family, ip := range map[discoveryv1.AddressType]netip.Addr{discoveryv1.AddressTypeIPv4: pod.four, discoveryv1.AddressTypeIPv6: pod.six} {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  meta(s.Name+"-"+string(family), map[string]string{discoveryv1.LabelServiceName: s.Name}),
			AddressType: family,
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{ip.String()}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: pod.name},
			}},
		}
		for _, p := range s.Spec.Ports {
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &p.TargetPort.IntVal})
		}
		out = append(out, slice)
	}
	return out
}

func accountObject(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: meta(name, nil)}
}

// namespaceObject has joined the mesh.
func namespaceObject(labels map[string]string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{smi.InjectLabel: smi.InjectEnabled}}}
	for key, value := range labels {
		n.Labels[key] = value
	}
	return n
}

// grants lets callers and the store itself read what path says, and open port
// 9000: two targets, as a port that is named beside paths would narrow them.
func grants(path string) ([]*access.TrafficTarget, *specs.HTTPRouteGroup, *specs.TCPRoute) {
	subject := func(name string) access.IdentityBindingSubject {
		return access.IdentityBindingSubject{Kind: "ServiceAccount", Name: name, Namespace: namespace}
	}
	target := func(name, kind, rule string) *access.TrafficTarget {
		return &access.TrafficTarget{ObjectMeta: meta(name, nil), Spec: access.TrafficTargetSpec{
			Destination: subject("store"), Sources: []access.IdentityBindingSubject{subject("caller"), subject("store")},
			Rules: []access.TrafficTargetRule{{Kind: kind, Name: rule}},
		}}
	}
	group := &specs.HTTPRouteGroup{ObjectMeta: meta("books", nil), Spec: specs.HTTPRouteGroupSpec{
		Matches: []specs.HTTPMatch{{Name: "read", PathRegex: path, Methods: []string{"GET"}}},
	}}
	talk := &specs.TCPRoute{ObjectMeta: meta("talk", nil), Spec: specs.TCPRouteSpec{Matches: specs.TCPMatch{Name: "any", Ports: []int{9000}}}}
	return []*access.TrafficTarget{target("readers", "HTTPRouteGroup", "books"), target("talkers", "TCPRoute", "talk")}, group, talk
}
