// Package smi turns Kubernetes and SMI objects into the mesh they describe.
//
// It is the one place that knows what the fields of a manifest mean: defaults,
// references between objects, and what to make of those that lead nowhere. It
// is pure: no I/O, no clock, no logger, no package variable; it never writes to
// the objects it is given, and the same objects in any order give the same
// snapshot. It must never let an object that it could not resolve grant more
// than the object would have granted when resolved.
package smi

import (
	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// The kinds that a snapshot is made of, as problems name them.
const (
	KindService        = "Service"
	KindServiceAccount = "ServiceAccount"
	KindTrafficTarget  = "TrafficTarget"
	KindHTTPRouteGroup = "HTTPRouteGroup"
	KindTCPRoute       = "TCPRoute"
	KindUDPRoute       = "UDPRoute"
	KindTrafficSplit   = "TrafficSplit"
	KindWorkload       = "Workload"
	KindNamespace      = "Namespace"
	KindWasmFilter     = "WasmFilter"
	KindPod            = "Pod"
)

// Objects is everything that the mesh is described by, whatever the source. An
// object appears once, its namespace is set, and nobody changes it afterwards.
// Older wire versions have been converted to these types by the source.
type Objects struct {
	Services        []*corev1.Service
	ServiceAccounts []*corev1.ServiceAccount
	TrafficTargets  []*access.TrafficTarget
	HTTPRouteGroups []*specs.HTTPRouteGroup
	TCPRoutes       []*specs.TCPRoute
	TrafficSplits   []*split.TrafficSplit
	Workloads       []*v1alpha1.Workload
	// Namespaces are needed only for their labels; one that is not listed has none.
	Namespaces  []*corev1.Namespace
	WasmFilters []*v1alpha1.WasmFilter
	// Pods and EndpointSlices are there only where Settings.Kubernetes is. Pods
	// without a sidecar may be left out.
	Pods           []*corev1.Pod
	EndpointSlices []*discoveryv1.EndpointSlice
}

// Len returns the number of objects.
func (o Objects) Len() int {
	return len(o.Services) + len(o.ServiceAccounts) + len(o.TrafficTargets) + len(o.HTTPRouteGroups) +
		len(o.TCPRoutes) + len(o.TrafficSplits) + len(o.Workloads) + len(o.Namespaces) + len(o.WasmFilters) +
		len(o.Pods) + len(o.EndpointSlices)
}

// Settings hold for the whole mesh.
type Settings struct {
	// TrustDomain is the authority of all SPIFFE IDs, such as "cluster.local".
	TrustDomain string
	// PathFull makes a pathRegex describe the whole path, where SMI anchors it at
	// the start only (smi-rules 36).
	PathFull bool
	// Mode and Grace hold in namespaces whose labels say nothing; see
	// mesh.Workload.
	Mode  policy.Mode
	Grace bool
	// Kubernetes: the objects are those of a cluster. Pods are workloads, services
	// have the addresses that the cluster gave them, and EndpointSlices say who
	// stands behind them; see docs/adr/0023-captured-pods.md.
	Kubernetes bool
}

// Snapshot resolves objects into the mesh they describe. What cannot be used is
// left out and reported; it never fails as a whole, and never widens access.
// Problems are sorted by object and field.
func Snapshot(objects Objects, settings Settings) (*mesh.Snapshot, []mesh.Problem) {
	return snapshot(objects, settings, patterns{})
}

// snapshot is Snapshot with what has been compiled already, to which it adds.
func snapshot(objects Objects, settings Settings, p patterns) (*mesh.Snapshot, []mesh.Problem) {
	r := newResolver(objects, settings, p)
	r.namespaces()
	instances := r.workloads()
	if settings.Kubernetes {
		instances = r.withPods(instances)
	}
	r.filters(instances)
	services := r.services(instances)
	r.routeGroups = r.groups()
	out := &mesh.Snapshot{
		TrustDomain: settings.TrustDomain,
		Services:    services,
		Access:      r.access(),
		Splits:      r.splits(services),
	}
	for _, i := range instances {
		out.Workloads = append(out.Workloads, i.Workload)
	}
	sortProblems(r.problems)
	return out, r.problems
}

// resolver gathers problems while one snapshot is made.
type resolver struct {
	settings Settings
	patterns patterns
	// objects are copies of the input slices, oldest object first: the order in
	// which they claim what only one of them can have.
	objects  Objects
	accounts map[mesh.Name]bool
	// serviceNames are those of all Services, usable or not.
	serviceNames map[mesh.Name]bool
	// groupNames are those of all HTTPRouteGroups, usable or not.
	groupNames map[mesh.Name]bool
	adoption   map[string]adoption
	// joined are the namespaces whose pods get a sidecar.
	joined map[string]bool
	// routeGroups are what both targets and splits refer to.
	routeGroups map[mesh.Name]group
	problems    []mesh.Problem
	// breaks counts the problems that are Broken: a resolving step that leaves it
	// as it was has found its object usable.
	breaks int
	// guessed counts the suggestions that were looked for.
	guessed int
}

func newResolver(objects Objects, settings Settings, p patterns) *resolver {
	r := &resolver{
		settings: settings, patterns: p, accounts: namesOf(objects.ServiceAccounts),
		serviceNames: namesOf(objects.Services), groupNames: namesOf(objects.HTTPRouteGroups),
	}
	r.objects = Objects{
		Services:        oldestFirst(objects.Services),
		ServiceAccounts: oldestFirst(objects.ServiceAccounts),
		TrafficTargets:  oldestFirst(objects.TrafficTargets),
		HTTPRouteGroups: oldestFirst(objects.HTTPRouteGroups),
		TCPRoutes:       oldestFirst(objects.TCPRoutes),
		TrafficSplits:   oldestFirst(objects.TrafficSplits),
		Workloads:       oldestFirst(objects.Workloads),
		Namespaces:      oldestFirst(objects.Namespaces),
		WasmFilters:     oldestFirst(objects.WasmFilters),
		Pods:            oldestFirst(objects.Pods),
		EndpointSlices:  oldestFirst(objects.EndpointSlices),
	}
	return r
}
