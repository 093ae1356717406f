package metricsapi

import "github.com/wasmesh/wasmesh/controlplane/mesh"

// Group and Version are those of the API.
const (
	Group   = "metrics.smi-spec.io"
	Version = "v1alpha1"
)

// The kinds that are not those of a workload.
const (
	KindNamespace = "Namespace"
	KindPod       = "Pod"
	KindSplit     = "TrafficSplit"
	kindWorkload  = "Workload"
)

// Kind is a kind of object that has metrics.
type Kind struct {
	// Name is as metrics have it, Resource as paths have it, both as Kubernetes does.
	Name, Resource string
	Namespaced     bool
}

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{
		{"Deployment", "deployments", true}, {"StatefulSet", "statefulsets", true}, {"DaemonSet", "daemonsets", true},
		{"Job", "jobs", true}, {KindPod, "pods", true}, {kindWorkload, "workloads", true},
		{KindSplit, "trafficsplits", true}, {KindNamespace, "namespaces", false},
	}
}

// KindOf finds the kind of a path's resource.
func KindOf(resource string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Resource == resource {
			return k, true
		}
	}
	return Kind{}, false
}

// Object is one that has metrics, with the labels by which it is selected.
type Object struct {
	Kind   Kind
	Name   mesh.Name
	Labels map[string]string
	// Apex is the Service that a TrafficSplit splits, Backends are among whom.
	Apex     string
	Backends []Backend
}

// Backend is one of a split, with the destinations behind its Service.
type Backend struct {
	Name   string
	Weight uint32
	Peers  []Peer
}

// peer is the object as flows name it.
func (o Object) peer() Peer {
	return Peer{Kind: o.Kind.Name, Namespace: o.Name.Namespace, Name: o.Name.Name}
}
