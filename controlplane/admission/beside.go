package admission

import (
	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// byItself is a mesh of one object. A Workload without its service account would
// be broken, and that may be on its way.
func byItself(value wire.Object) smi.Objects {
	out := wire.Assemble([]wire.Object{value})
	for _, w := range out.Workloads {
		if w.Spec.ServiceAccount != "" {
			out.ServiceAccounts = append(out.ServiceAccounts, &corev1.ServiceAccount{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Spec.ServiceAccount}})
		}
	}
	return out
}

// beside is the part of the mesh that one object can refer to or collide with,
// and the object in place of the one of that name. Of what it only might have
// meant the names are left, for suggestions: to compile 10,000 groups again for
// each edit would take longer than anybody waits.
func beside(value wire.Object, around smi.Objects) smi.Objects {
	out := wire.Assemble([]wire.Object{value})
	namespace := value.GetNamespace()
	named := map[string]bool{}
	switch o := value.(type) {
	case *access.TrafficTarget:
		for _, r := range o.Spec.Rules {
			named[r.Name] = true
		}
		out.ServiceAccounts = around.ServiceAccounts
		out.HTTPRouteGroups = groups(around.HTTPRouteGroups, namespace, named)
		out.TCPRoutes = in(around.TCPRoutes, namespace)
	case *split.TrafficSplit:
		for _, m := range o.Spec.Matches {
			named[m.Name] = true
		}
		out.HTTPRouteGroups = groups(around.HTTPRouteGroups, namespace, named)
		out.Services = in(around.Services, namespace)
		for _, other := range in(around.TrafficSplits, namespace) {
			if other.Name != o.Name && other.Spec.Service == o.Spec.Service {
				out.TrafficSplits = append(out.TrafficSplits, other)
			}
		}
	case *v1alpha1.Workload:
		out.ServiceAccounts = in(around.ServiceAccounts, namespace)
		out.Pods = in(around.Pods, namespace)
		for _, other := range around.Workloads {
			if other.Namespace != namespace || other.Name != o.Name {
				out.Workloads = append(out.Workloads, other)
			}
		}
	case *v1alpha1.WasmFilter:
		out.ServiceAccounts = in(around.ServiceAccounts, namespace)
		out.Workloads = in(around.Workloads, namespace)
		out.Pods = in(around.Pods, namespace)
	}
	return out
}

// in returns the objects of one namespace.
func in[T metav1.Object](objects []T, namespace string) []T {
	var out []T
	for _, o := range objects {
		if o.GetNamespace() == namespace {
			out = append(out, o)
		}
	}
	return out
}

// groups returns those of one namespace, without their matches where they are not
// named.
func groups(all []*specs.HTTPRouteGroup, namespace string, named map[string]bool) []*specs.HTTPRouteGroup {
	var out []*specs.HTTPRouteGroup
	for _, g := range in(all, namespace) {
		if !named[g.Name] {
			g = &specs.HTTPRouteGroup{ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: g.Name}}
		}
		out = append(out, g)
	}
	return out
}
