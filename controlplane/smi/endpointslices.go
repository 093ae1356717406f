package smi

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// behind knows who stands behind the Services of a cluster.
type behind struct {
	slices map[mesh.Name][]*discoveryv1.EndpointSlice
	// byAddress are the instances that have a sidecar.
	byAddress map[netip.Addr]*instance
	// workloads are those that no EndpointSlice speaks of, by namespace.
	workloads map[string][]instance
}

// standing is what is found behind one Service.
type standing struct {
	// inside and outside count the endpoints with and without a sidecar, ready or
	// not; first names one of those without.
	inside, outside int
	first           string
	// workloads are the Workloads that it selects.
	workloads []instance
}

// candidate is an instance's port behind a service port, with what Kubernetes
// says of its state.
type candidate struct {
	*instance
	port uint16
	// ready: it wants requests. leaving: it is ending, and still answers.
	ready, leaving bool
}

func (r *resolver) newBehind(instances []instance) *behind {
	b := &behind{
		slices: map[mesh.Name][]*discoveryv1.EndpointSlice{}, byAddress: map[netip.Addr]*instance{}, workloads: map[string][]instance{},
	}
	for i := range instances {
		b.byAddress[instances[i].Address] = &instances[i]
		for _, a := range instances[i].Addresses {
			b.byAddress[a] = &instances[i]
		}
		if instances[i].Kind == mesh.KindWorkload {
			b.workloads[instances[i].Name.Namespace] = append(b.workloads[instances[i].Name.Namespace], instances[i])
		}
	}
	for _, s := range r.objects.EndpointSlices {
		service := mesh.Name{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		b.slices[service] = append(b.slices[service], s)
	}
	return b
}

// of says who stands behind a Service at all.
func (b *behind) of(s *corev1.Service) standing {
	var out standing
	counted := map[string]bool{}
	for _, slice := range b.slices[nameOf(s)] {
		for _, e := range slice.Endpoints {
			name := endpointName(e)
			if name == "" || counted[name] {
				continue
			}
			counted[name] = true
			if b.instanceOf(e) != nil {
				out.inside++
				continue
			}
			if out.outside++; out.first == "" || name < out.first {
				out.first = name
			}
		}
	}
	if len(s.Spec.Selector) > 0 {
		wanted := labels.SelectorFromSet(s.Spec.Selector)
		for _, w := range b.workloads[s.Namespace] {
			if wanted.Matches(labels.Set(w.labels)) {
				out.workloads = append(out.workloads, w)
			}
		}
	}
	out.inside += len(out.workloads)
	return out
}

// endpointName tells endpoints apart: a pod with two addresses is in two slices.
func endpointName(e discoveryv1.Endpoint) string {
	if e.TargetRef != nil && e.TargetRef.Name != "" {
		return e.TargetRef.Name
	}
	if len(e.Addresses) == 0 {
		return ""
	}
	return e.Addresses[0]
}

// instanceOf returns the instance at an endpoint's address, nil if none with a
// sidecar is there. Kubernetes has all addresses of one endpoint mean the same, and
// only the first is used.
func (b *behind) instanceOf(e discoveryv1.Endpoint) *instance {
	if len(e.Addresses) == 0 {
		return nil
	}
	a, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return nil
	}
	return b.byAddress[a.Unmap()]
}

// endpoints returns the instances behind one port of a Service, sorted: those
// that are ready, and if there is none, those that are ending and still answer, as
// Kubernetes has it. Callers of a headless service choose by themselves, so it
// has all of them.
func (b *behind) endpoints(s *corev1.Service, p corev1.ServicePort) []candidate {
	all := b.candidates(s, p)
	if s.Spec.ClusterIP == corev1.ClusterIPNone {
		return all
	}
	ready := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return !c.ready })
	if len(ready) > 0 {
		return ready
	}
	return slices.DeleteFunc(all, func(c candidate) bool { return !c.leaving })
}

func (b *behind) candidates(s *corev1.Service, p corev1.ServicePort) []candidate {
	type place struct {
		name mesh.Name
		port uint16
	}
	var out []candidate
	at := map[place]int{}
	for _, slice := range b.slices[nameOf(s)] {
		number, ok := slicePort(slice, p)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			found := b.instanceOf(e)
			if found == nil {
				continue
			}
			c := candidate{instance: found, port: number, ready: isReady(e.Conditions), leaving: isLeaving(e.Conditions)}
			here := place{found.Name, number}
			if i, twice := at[here]; twice { // the other family says the same
				out[i].ready, out[i].leaving = out[i].ready || c.ready, out[i].leaving || c.leaving
				continue
			}
			at[here] = len(out)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y candidate) int {
		if c := x.Name.Compare(y.Name); c != 0 {
			return c
		}
		return int(x.port) - int(y.port)
	})
	return out
}

// slicePort is the container port that a slice gives for a port of its Service.
func slicePort(s *discoveryv1.EndpointSlice, p corev1.ServicePort) (uint16, bool) {
	for _, own := range s.Ports {
		tcp := own.Protocol == nil || *own.Protocol == "" || *own.Protocol == corev1.ProtocolTCP
		if tcp && stringOf(own.Name) == p.Name && own.Port != nil && validPort(int(*own.Port)) {
			return uint16(*own.Port), true
		}
	}
	return 0, false
}

// isReady reads a condition that nobody has set as Kubernetes does: as true.
func isReady(c discoveryv1.EndpointConditions) bool { return c.Ready == nil || *c.Ready }

func isLeaving(c discoveryv1.EndpointConditions) bool {
	serving := isReady(c)
	if c.Serving != nil {
		serving = *c.Serving
	}
	return serving && c.Terminating != nil && *c.Terminating
}
