package smi

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// The label that a pod with a sidecar carries.
const (
	SidecarLabel    = "wasmesh.io/sidecar"
	SidecarInjected = "injected"
)

// defaultAccount is the service account of a pod that names none.
const defaultAccount = "default"

// withPods adds the pods that have a sidecar to the Workloads, sorted by name.
func (r *resolver) withPods(workloads []instance) []instance {
	pods := r.pods()
	taken := map[mesh.Name]bool{}
	for _, p := range pods {
		taken[p.Name] = true
	}
	for _, w := range workloads {
		if taken[w.Name] {
			// Their certificates differ in kind only, and a name means one of them.
			r.broken(mesh.Object{Kind: KindWorkload, Name: w.Name}, "metadata.name",
				"a Pod of the namespace has the same name.", "Rename the Workload.")
			continue
		}
		pods = append(pods, w)
	}
	slices.SortFunc(pods, func(a, b instance) int { return a.Name.Compare(b.Name) })
	return pods
}

// pods resolves the pods that have a sidecar and an address.
func (r *resolver) pods() []instance {
	var out []instance
	ports := r.portsOfPods()
	holders := map[netip.Addr]mesh.Name{}
	// An address passes to the pod that was made last: the one before has ended,
	// whatever is still said of it.
	for _, p := range slices.Backward(r.objects.Pods) {
		addresses := podAddresses(p)
		if !captured(p) || len(addresses) == 0 {
			continue
		}
		name := nameOf(p)
		if holder, held := heldBy(holders, addresses); held {
			r.inert(mesh.Object{Kind: KindPod, Name: name}, "status.podIPs",
				fmt.Sprintf("Pod %s is newer and has the same address, so this one gets no connections.", holder), "Wait until it is gone.")
			continue
		}
		for _, a := range addresses {
			holders[a] = name
		}
		adoption := r.adoptionOf(p.Namespace)
		out = append(out, instance{labels: p.Labels, Workload: mesh.Workload{
			Name:           name,
			ServiceAccount: mesh.Name{Namespace: p.Namespace, Name: orDefault(p.Spec.ServiceAccountName, defaultAccount)},
			Kind:           mesh.KindPod,
			Owner:          ownerOf(p),
			Captured:       true,
			Address:        addresses[0],
			Addresses:      addresses,
			Application:    addresses[0],
			Ports:          ports[name],
			Mode:           adoption.mode,
			Grace:          adoption.grace,
		}})
	}
	return out
}

// captured says whether a pod's connections are its sidecar's. One that has
// ended may still show an address that others have by now.
func captured(p *corev1.Pod) bool {
	return p.Labels[SidecarLabel] == SidecarInjected && !p.Spec.HostNetwork &&
		p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// podAddresses are a pod's addresses, one of each family, the primary first.
func podAddresses(p *corev1.Pod) []netip.Addr {
	var texts []string
	for _, ip := range p.Status.PodIPs {
		texts = append(texts, ip.IP)
	}
	if len(texts) == 0 {
		texts = append(texts, p.Status.PodIP)
	}
	return onePerFamily(texts)
}

// onePerFamily reads addresses and keeps the first of each family. What is none,
// such as "None" or nothing at all, is left out.
func onePerFamily(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		a = a.Unmap()
		if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
			continue
		}
		if !slices.ContainsFunc(out, func(other netip.Addr) bool { return other.Is4() == a.Is4() }) {
			out = append(out, a)
		}
	}
	return out
}

func heldBy(holders map[netip.Addr]mesh.Name, addresses []netip.Addr) (mesh.Name, bool) {
	for _, a := range addresses {
		if holder, held := holders[a]; held {
			return holder, true
		}
	}
	return mesh.Name{}, false
}
