package smi

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// clusterServices resolves the Services of a cluster that are the mesh's, sorted
// by name. The others are reached as they are without a mesh: calls to their
// addresses pass through.
func (r *resolver) clusterServices(instances []instance) []mesh.Service {
	b := r.newBehind(instances)
	named := r.namedInSplits()
	var out []mesh.Service
	offsets, taken := addresses{}, map[netip.Addr]mesh.Name{}
	for _, s := range r.objects.Services {
		o := mesh.Object{Kind: KindService, Name: nameOf(s)}
		service := mesh.Service{Name: o.Name, Headless: s.Spec.ClusterIP == corev1.ClusterIPNone, Addresses: clusterAddresses(s)}
		if s.Spec.Type == corev1.ServiceTypeExternalName || len(service.Addresses) == 0 && !service.Headless {
			continue
		}
		found := b.of(s)
		if !r.isMesh(s, found, named) || !r.portsAreValid(o, s.Spec.Ports) {
			continue
		}
		if holder, held := heldBy(taken, service.Addresses); held {
			r.broken(o, "spec.clusterIP", fmt.Sprintf("Service %s already has its address; the service is left out.", holder), "Create it anew.")
			continue
		}
		for _, a := range service.Addresses {
			taken[a] = o.Name
		}
		service.Offset = offsets.free(hashOffset(o.Name))
		offsets[service.Offset] = o.Name
		service.Ports = r.clusterPorts(o, s, b, found)
		r.unprotected(o, found)
		out = append(out, service)
	}
	slices.SortFunc(out, func(a, b mesh.Service) int { return a.Name.Compare(b.Name) })
	return out
}

// clusterAddresses are a Service's cluster IPs, one of each family.
func clusterAddresses(s *corev1.Service) []netip.Addr {
	return onePerFamily(append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...))
}

// isMesh says whether calls to a Service are the mesh's business: somebody behind
// it has a sidecar, or is meant to have one, or requests to it are split. Where
// grace holds and nobody has one yet, calls go on as before.
func (r *resolver) isMesh(s *corev1.Service, found standing, named map[mesh.Name]bool) bool {
	switch {
	case found.inside > 0, named[nameOf(s)]:
		return true
	case len(s.Spec.Selector) == 0:
		return false
	}
	return r.joined[s.Namespace] && (found.outside == 0 || !r.adoptionOf(s.Namespace).grace)
}

// namedInSplits are the services that TrafficSplits speak of, roots and backends.
func (r *resolver) namedInSplits() map[mesh.Name]bool {
	out := map[mesh.Name]bool{}
	for _, t := range r.objects.TrafficSplits {
		add := func(text string) {
			short, _, _ := strings.Cut(text, ".")
			out[mesh.Name{Namespace: t.Namespace, Name: short}] = true
		}
		add(t.Spec.Service)
		for _, backend := range t.Spec.Backends {
			add(backend.Service)
		}
	}
	return out
}

// clusterPorts keeps the ports that are served, sorted by number.
func (r *resolver) clusterPorts(o mesh.Object, s *corev1.Service, b *behind, found standing) []mesh.ServicePort {
	var out []mesh.ServicePort
	for i, p := range s.Spec.Ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		if !isTCP(p) {
			r.inert(o, field+".protocol", fmt.Sprintf("%s is not the mesh's: port %d is reached without a sidecar, and no policy holds there.", p.Protocol, p.Port),
				"Close it by a NetworkPolicy if that matters.")
			continue
		}
		protocol := protocolOf(stringOf(p.AppProtocol), p.Name)
		endpoints := r.podEndpoints(o, field, p, protocol, b.endpoints(s, p))
		endpoints = append(endpoints, r.endpoints(o, field+".targetPort", p, protocol, found.workloads)...)
		slices.SortFunc(endpoints, func(a, b mesh.Endpoint) int {
			return cmp.Or(a.Workload.Compare(b.Workload), cmp.Compare(a.Port, b.Port))
		})
		endpoints = slices.Compact(endpoints) // a Workload may be selected and in a slice
		out = append(out, mesh.ServicePort{Port: uint16(p.Port), Name: p.Name, Protocol: protocol, Endpoints: endpoints})
	}
	slices.SortFunc(out, func(a, b mesh.ServicePort) int { return int(a.Port) - int(b.Port) })
	return out
}

// podEndpoints keeps the endpoints that a sidecar serves as the Service says.
func (r *resolver) podEndpoints(o mesh.Object, field string, p corev1.ServicePort, protocol mesh.Protocol, candidates []candidate) []mesh.Endpoint {
	var out []mesh.Endpoint
	for _, c := range candidates {
		i := slices.IndexFunc(c.Ports, func(own mesh.WorkloadPort) bool { return own.Port == c.port })
		switch {
		case i < 0:
			r.inert(o, field+".targetPort", fmt.Sprintf("the sidecar of Pod %s does not serve port %d, so it gets nothing of it.", c.Name, c.port),
				"Declare the port in the pod's containers; ports 15001, 15006, 15020 and 15021 are the sidecar's own.")
			continue
		case c.Ports[i].Protocol.Opaque() != protocol.Opaque():
			r.inert(o, field+".appProtocol", fmt.Sprintf("port %d is read as %s, and an older Service has port %d of Pod %s read as %s, so it gets nothing of it.",
				p.Port, protocol, c.port, c.Name, c.Ports[i].Protocol), "Give both the same appProtocol.")
			continue
		}
		out = append(out, mesh.Endpoint{Workload: c.Name, ServiceAccount: c.ServiceAccount, Address: c.Address, Port: c.port})
	}
	return out
}

// unprotected reports endpoints without a sidecar behind a service of the mesh:
// plaintext to them would prove nothing, and nobody would be judged there.
func (r *resolver) unprotected(o mesh.Object, found standing) {
	if found.outside == 0 {
		return
	}
	count := mesh.Counted(found.outside, "endpoint of the service has", "endpoints of the service have")
	r.inert(o, "spec.selector", fmt.Sprintf("%s no sidecar, %s among them; callers with a sidecar do not reach them.", count, found.first),
		"Restart those pods so that they get a sidecar, or take them out of the service.")
}
