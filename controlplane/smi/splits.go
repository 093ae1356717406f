package smi

import (
	"fmt"
	"math"
	"slices"
	"strings"

	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// splits resolves all TrafficSplits, oldest first. Of two for one root that have
// no conditions the older one counts (smi-rules 72); one that routes nothing
// claims no root.
func (r *resolver) splits(services []mesh.Service) []mesh.Split {
	known := knownServices{all: map[mesh.Name]*corev1.Service{}, usable: map[mesh.Name]mesh.Service{}}
	for _, s := range r.objects.Services {
		known.all[nameOf(s)] = s
	}
	for _, s := range services {
		known.usable[s.Name] = s
	}
	var out []mesh.Split
	holders := map[mesh.Name]mesh.Name{}
	for _, t := range r.objects.TrafficSplits {
		o := mesh.Object{Kind: KindTrafficSplit, Name: nameOf(t)}
		resolved, ok := r.split(o, t.Spec, known)
		if !ok {
			continue
		}
		if holder, held := holders[resolved.Root]; held && !resolved.Conditional {
			r.inert(o, "spec.service", fmt.Sprintf("TrafficSplit %s already splits service %q and is older; this one is ignored.", holder.Name, resolved.Root.Name),
				"Keep one of the two, or give this one matches.")
			r.rule(72)
			continue
		}
		if !resolved.Conditional {
			holders[resolved.Root] = resolved.Name
		}
		out = append(out, resolved)
	}
	return out
}

// knownServices tells a Service that does not exist from one with a problem.
type knownServices struct {
	all    map[mesh.Name]*corev1.Service
	usable map[mesh.Name]mesh.Service
}

// split resolves one TrafficSplit; false if requests go to its root as if it
// were not there.
func (r *resolver) split(o mesh.Object, spec split.TrafficSplitSpec, known knownServices) (mesh.Split, bool) {
	if !r.weightsAreValid(o, spec.Backends) {
		return mesh.Split{}, false
	}
	conditions := r.conditions(o, spec.Matches)
	root, ok := r.serviceNamed(o, "spec.service", spec.Service, known, "The split routes nothing until it does.")
	if !ok {
		return mesh.Split{}, false
	}
	if len(spec.Backends) == 0 {
		r.inert(o, "spec.backends", "no backend is listed, so requests go to the root service.", "List the services to split over.")
		return mesh.Split{}, false
	}
	if len(spec.Matches) > 0 {
		r.opaquePorts(o, known.all[root])
	}
	backends := r.backends(o, root, spec.Backends, known)
	if !slices.ContainsFunc(backends, func(b mesh.Backend) bool { return b.Weight > 0 }) {
		r.inert(o, "spec.backends", "no backend that exists has a weight above 0, so requests go to the root service.", "Give at least one of them a weight.")
		r.rule(57)
		return mesh.Split{}, false
	}
	return mesh.Split{Name: o.Name, Root: root, Conditional: len(spec.Matches) > 0, Conditions: conditions, Backends: backends}, true
}

// opaquePorts reports the root's ports on which no match can be met (smi-rules
// 79): a connection of unknown bytes has no path, method or header.
func (r *resolver) opaquePorts(o mesh.Object, root *corev1.Service) {
	for _, p := range root.Spec.Ports {
		if isTCP(p) && protocolOf(stringOf(p.AppProtocol), p.Name) == mesh.TCP {
			r.inert(o, "spec.matches", fmt.Sprintf("port %d of service %q is opaque TCP, where nothing can be matched; the split does not apply there.", p.Port, root.Name),
				"Add a split without matches for that port, or name the port http-... if it speaks HTTP.")
			r.rule(79)
		}
	}
}

// weightsAreValid holds the sum to what a proxy can count with (smi-rules 58).
func (r *resolver) weightsAreValid(o mesh.Object, backends []split.TrafficSplitBackend) bool {
	sum, valid := 0, true
	for i, b := range backends {
		field := fmt.Sprintf("spec.backends[%d].weight", i)
		switch {
		case b.Weight < 0:
			r.broken(o, field, fmt.Sprintf("weight %d is negative; the split is left out.", b.Weight), "Use 0 for a backend that gets nothing.")
			r.rule(58)
			valid = false
		case b.Weight > math.MaxUint32-sum:
			r.broken(o, field, fmt.Sprintf("the weights add up to more than %d; the split is left out.", math.MaxUint32), "Weights are relative: use smaller ones.")
			r.rule(58)
			return false
		default:
			sum += b.Weight
		}
	}
	return valid
}

// backends resolves those that exist, sorted, one entry per service. The share
// of a missing one goes to the others (smi-rules 63, 64).
func (r *resolver) backends(o mesh.Object, root mesh.Name, backends []split.TrafficSplitBackend, known knownServices) []mesh.Backend {
	weights := map[mesh.Name]uint32{}
	for i, b := range backends {
		field := fmt.Sprintf("spec.backends[%d].service", i)
		name, ok := r.serviceNamed(o, field, b.Service, known, "Its share goes to the other backends until it does.")
		if !ok {
			continue
		}
		weights[name] += uint32(b.Weight)
		r.missingPorts(o, field, known.usable[root], known.usable[name])
	}
	out := make([]mesh.Backend, 0, len(weights))
	for name, weight := range weights {
		out = append(out, mesh.Backend{Service: name, Weight: weight})
	}
	slices.SortFunc(out, func(a, b mesh.Backend) int { return a.Service.Compare(b.Service) })
	return out
}

// missingPorts reports the root's ports on which a backend gets nothing
// (smi-rules 65, 66).
func (r *resolver) missingPorts(o mesh.Object, field string, root, backend mesh.Service) {
	for _, p := range root.Ports {
		switch own, ok := backend.Port(p.Port); {
		case !ok:
			r.inert(o, field, fmt.Sprintf("service %q has no port %d, which the root has; on that port it gets nothing.", backend.Name.Name, p.Port),
				"Give it a port of that number.")
			r.rule(65)
		case !own.Serves(p):
			r.inert(o, field, fmt.Sprintf("port %d of service %q has protocol %s and the root's has %s; on that port it gets nothing.", p.Port, backend.Name.Name, own.Protocol, p.Protocol),
				"Name both ports alike, such as http-... or tcp-....")
		}
	}
}

// serviceNamed resolves a service of the split's own namespace, by its name or
// one of its DNS names (smi-rules 61 to 63).
func (r *resolver) serviceNamed(o mesh.Object, field, text string, known knownServices, effect string) (mesh.Name, bool) {
	short, rest, qualified := strings.Cut(text, ".")
	namespace, domain, _ := strings.Cut(rest, ".")
	if qualified && (namespace != o.Name.Namespace || domain != "" && domain != "svc" && domain != "svc.cluster.local") {
		r.inert(o, field, fmt.Sprintf("%q does not name a service of namespace %s, and a split stays inside its namespace.", text, o.Name.Namespace),
			"Use the service's short name.")
		r.rule(63)
		return mesh.Name{}, false
	}
	name := mesh.Name{Namespace: o.Name.Namespace, Name: short}
	if _, ok := known.usable[name]; ok {
		return name, true
	}
	if known.all[name] != nil {
		r.inert(o, field, fmt.Sprintf("Service %q is left out because of a problem of its own. %s", short, strings.Replace(effect, "it does", "that is solved", 1)),
			"Solve that problem first.")
		return mesh.Name{}, false
	}
	r.inert(o, field, fmt.Sprintf("Service %q does not exist in namespace %s. %s", short, o.Name.Namespace, effect),
		r.tryName(name, r.serviceNames))
	return mesh.Name{}, false
}
