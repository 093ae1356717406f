package smi

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// What a Workload leaves unsaid; see v1alpha1.WorkloadSpec.
const (
	defaultApplication = "127.0.0.1"
	defaultLoopback    = "127.127.0.0/16"
)

// instance is a workload together with what Service selectors look at.
type instance struct {
	mesh.Workload
	labels map[string]string
}

// workloads resolves all Workloads, sorted by name. Of two that cannot live side
// by side the older one stays.
func (r *resolver) workloads() []instance {
	var out []instance
	taken := claims{}
	for _, w := range r.objects.Workloads {
		o := mesh.Object{Kind: KindWorkload, Name: nameOf(w)}
		resolved, ok := r.workload(o, w)
		if !ok {
			continue
		}
		if field, cause, try := taken.conflict(resolved); field != "" {
			r.broken(o, field, cause, try)
			continue
		}
		taken.add(resolved)
		out = append(out, instance{Workload: resolved, labels: w.Labels})
	}
	slices.SortFunc(out, func(a, b instance) int { return a.Name.Compare(b.Name) })
	return out
}

// workload resolves one Workload by itself; false if it has to be left out.
func (r *resolver) workload(o mesh.Object, w *v1alpha1.Workload) (mesh.Workload, bool) {
	before := r.breaks
	account := mesh.Name{Namespace: w.Namespace, Name: w.Spec.ServiceAccount}
	switch {
	case account.Name == "":
		r.broken(o, "spec.serviceAccount", "a workload without a service account has no identity.",
			"Name a ServiceAccount of namespace "+w.Namespace+".")
	case !r.accounts[account]:
		r.broken(o, "spec.serviceAccount",
			fmt.Sprintf("ServiceAccount %q does not exist in namespace %s, so the workload has no identity.", account.Name, account.Namespace),
			r.tryName(account, r.accounts))
	}
	out := mesh.Workload{
		Name:           o.Name,
		ServiceAccount: account,
		Kind:           mesh.KindWorkload,
		Address:        r.address(o, "spec.address", w.Spec.Address),
		Application:    r.address(o, "spec.application", orDefault(w.Spec.Application, defaultApplication)),
		Loopback:       r.loopback(o, orDefault(w.Spec.Loopback, defaultLoopback)),
		Ports:          r.workloadPorts(o, w.Spec.Ports),
	}
	adoption := r.adoptionOf(w.Namespace)
	out.Mode, out.Grace = adoption.mode, adoption.grace
	if r.breaks == before {
		r.apart(o, out)
	}
	return out, r.breaks == before
}

// apart reports addresses of one workload that get in each other's way.
func (r *resolver) apart(o mesh.Object, w mesh.Workload) {
	if w.Address == w.Application {
		r.broken(o, "spec.address",
			fmt.Sprintf("the sidecar and the application would both listen on %s.", w.Address),
			"Give the application an address of its own, such as "+defaultApplication+".")
		return
	}
	for field, a := range map[string]netip.Addr{"spec.address": w.Address, "spec.application": w.Application} {
		if w.Loopback.Contains(a) {
			r.broken(o, field,
				fmt.Sprintf("%s lies inside spec.loopback %s, where services get their addresses.", a, w.Loopback),
				"Use another /16 network of 127.0.0.0/8 for spec.loopback.")
		}
	}
}

// address reads one IP address that something can listen on.
func (r *resolver) address(o mesh.Object, field, text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	switch {
	case text == "":
		r.broken(o, field, "the address is missing.", "Give an IP address of the machine.")
	case err != nil || a.Zone() != "":
		r.broken(o, field, fmt.Sprintf("%q is not an IP address.", text), "Write it like 10.0.0.7 or fd00::7, without port or zone.")
	case a.IsUnspecified() || a.IsMulticast():
		r.broken(o, field, fmt.Sprintf("%s is not the address of one machine.", a), "Give the IP address that others can dial.")
	}
	return a.Unmap()
}

// loopback reads the network in which one sidecar gives services addresses.
func (r *resolver) loopback(o mesh.Object, text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Bits() != 16 || p.Masked() != p || !p.Addr().Is4() || !p.Addr().IsLoopback() {
		r.broken(o, "spec.loopback", fmt.Sprintf("%q is not a /16 network inside 127.0.0.0/8.", text),
			"Write it like 127.31.0.0/16.")
	}
	return p
}

// workloadPorts keeps the ports that are served, sorted by number.
func (r *resolver) workloadPorts(o mesh.Object, ports []v1alpha1.WorkloadPort) []mesh.WorkloadPort {
	if len(ports) > maxPorts {
		r.broken(o, "spec.ports", fmt.Sprintf("%d ports are listed; %d is the most.", len(ports), maxPorts), "List those that callers use.")
		return nil
	}
	var out []mesh.WorkloadPort
	numbers, names := map[int32]bool{}, map[string]bool{}
	for i, p := range ports {
		field := fmt.Sprintf("spec.ports[%d]", i)
		protocol := protocolOf(p.AppProtocol, p.Name)
		_, known := protocolNamed(p.AppProtocol)
		switch {
		case !validPort(int(p.Port)):
			r.broken(o, field+".port", fmt.Sprintf("%d is not a port.", p.Port), "Use a number from 1 to 65535.")
		case numbers[p.Port]:
			r.broken(o, field+".port", fmt.Sprintf("port %d is listed twice.", p.Port), "Remove one of the two.")
		case p.Name != "" && names[p.Name]:
			r.broken(o, field+".name", fmt.Sprintf("two ports are named %q, so the name says nothing.", p.Name), "Rename one of the two.")
		case p.AppProtocol != "" && !known:
			r.broken(o, field+".appProtocol", fmt.Sprintf("protocol %q is unknown.", p.AppProtocol), "Use http, http2, grpc or tcp.")
		default:
			out = append(out, mesh.WorkloadPort{Port: uint16(p.Port), Name: p.Name, Protocol: protocol})
		}
		numbers[p.Port], names[p.Name] = true, true
	}
	slices.SortFunc(out, func(a, b mesh.WorkloadPort) int { return int(a.Port) - int(b.Port) })
	return out
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
