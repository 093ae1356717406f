// Package wire reads objects as they travel: decoded JSON in, typed objects out.
//
// It is what the folder and Kubernetes have in common. Objects are decoded one
// by one, so that a malformed one harms only itself; spellings that the types of
// SMI refuse are brought into the one form that they take. It is pure, it never
// reads a file or a network, and never takes an object that it understood only
// in part.
package wire

import (
	"slices"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// defaultNamespace is that of objects that name none, as in kubectl.
const defaultNamespace = "default"

// Object is any decoded object.
type Object = metav1.Object

// Kind is one that the mesh reads.
type Kind struct {
	// Name is what objects carry as kind, Group the part of apiVersion before the
	// slash.
	Name, Group string
	// Resource is its name in the paths of the Kubernetes API.
	Resource string
	// Versions are those read, the one to write first.
	Versions []string
	// empty returns a new object to decode into. The newest type serves for all
	// versions listed: they differ only in fields that older ones lack.
	empty func() Object
	// tolerate rewrites spellings that the type refuses; nil for none.
	tolerate func(fields map[string]any) []mesh.Problem
	// ClusterScoped objects are in no namespace.
	ClusterScoped bool
}

// Stored lists the versions in which objects that a cluster keeps are read, the
// best first. What a client wrote in one version comes back in another as it is
// (docs/adr/0027), and of splits the oldest has the weights that can say what
// those of all others can.
func (k Kind) Stored() []string {
	versions := slices.Clone(k.Versions)
	if k.Name == smi.KindTrafficSplit {
		slices.Reverse(versions)
	}
	return versions
}

// Kinds lists what is supported (smi-rules, decided 1).
func Kinds() []Kind {
	return []Kind{
		{smi.KindService, "", "services", []string{"v1"}, func() Object { return new(corev1.Service) }, nil, false},
		{smi.KindServiceAccount, "", "serviceaccounts", []string{"v1"}, func() Object { return new(corev1.ServiceAccount) }, nil, false},
		{smi.KindTrafficTarget, "access.smi-spec.io", "traffictargets", []string{"v1alpha3"}, func() Object { return new(access.TrafficTarget) }, nil, false},
		{smi.KindHTTPRouteGroup, "specs.smi-spec.io", "httproutegroups", []string{"v1alpha4", "v1alpha3"}, func() Object { return new(specs.HTTPRouteGroup) }, tolerateRoutes, false},
		{smi.KindTCPRoute, "specs.smi-spec.io", "tcproutes", []string{"v1alpha4", "v1alpha3"}, func() Object { return new(specs.TCPRoute) }, tolerateTopLevelMatches, false},
		{smi.KindUDPRoute, "specs.smi-spec.io", "udproutes", []string{"v1alpha4"}, func() Object { return new(specs.UDPRoute) }, tolerateTopLevelMatches, false},
		{smi.KindTrafficSplit, "split.smi-spec.io", "trafficsplits", []string{"v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1"}, func() Object { return new(split.TrafficSplit) }, tolerateWeights, false},
		{smi.KindNamespace, "", "namespaces", []string{"v1"}, func() Object { return new(corev1.Namespace) }, nil, true},
		{smi.KindWorkload, "wasmesh.io", "workloads", []string{"v1alpha1"}, func() Object { return new(v1alpha1.Workload) }, nil, false},
		{smi.KindWasmFilter, "wasmesh.io", "wasmfilters", []string{"v1alpha1"}, func() Object { return new(v1alpha1.WasmFilter) }, nil, false},
	}
}
