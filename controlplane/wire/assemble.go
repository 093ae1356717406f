package wire

import (
	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Assemble sorts objects into the slices that smi reads. UDPRoutes are not
// among them: nothing enforces those (smi-rules 30).
func Assemble(objects []Object) smi.Objects {
	var out smi.Objects
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.Service:
			out.Services = append(out.Services, o)
		case *corev1.ServiceAccount:
			out.ServiceAccounts = append(out.ServiceAccounts, o)
		case *access.TrafficTarget:
			out.TrafficTargets = append(out.TrafficTargets, o)
		case *specs.HTTPRouteGroup:
			out.HTTPRouteGroups = append(out.HTTPRouteGroups, o)
		case *specs.TCPRoute:
			out.TCPRoutes = append(out.TCPRoutes, o)
		case *split.TrafficSplit:
			out.TrafficSplits = append(out.TrafficSplits, o)
		case *corev1.Pod:
			out.Pods = append(out.Pods, o)
		case *discoveryv1.EndpointSlice:
			out.EndpointSlices = append(out.EndpointSlices, o)
		case *corev1.Namespace:
			out.Namespaces = append(out.Namespaces, o)
		case *v1alpha1.Workload:
			out.Workloads = append(out.Workloads, o)
		case *v1alpha1.WasmFilter:
			out.WasmFilters = append(out.WasmFilters, o)
		}
	}
	return out
}
