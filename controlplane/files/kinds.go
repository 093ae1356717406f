package files

import (
	"fmt"
	"slices"
	"strings"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// defaultNamespace is that of objects that name none, as in kubectl.
const defaultNamespace = "default"

// manifest is any decoded object.
type manifest = metav1.Object

// kind is one that the folder may hold.
type kind struct {
	name, group string
	// versions are those read, the one to write first.
	versions []string
	// empty returns a new object to decode into. The newest type serves for all
	// versions listed: they differ only in fields that older ones lack.
	empty func() manifest
	// tolerate rewrites spellings that the type refuses; nil for none.
	tolerate func(fields map[string]any) []mesh.Problem
	// clusterScoped objects are in no namespace.
	clusterScoped bool
}

// kinds lists what is supported (smi-rules, decided 1).
func kinds() []kind {
	return []kind{
		{smi.KindService, "", []string{"v1"}, func() manifest { return new(corev1.Service) }, nil, false},
		{smi.KindServiceAccount, "", []string{"v1"}, func() manifest { return new(corev1.ServiceAccount) }, nil, false},
		{smi.KindTrafficTarget, "access.smi-spec.io", []string{"v1alpha3"}, func() manifest { return new(access.TrafficTarget) }, nil, false},
		{smi.KindHTTPRouteGroup, "specs.smi-spec.io", []string{"v1alpha4", "v1alpha3"}, func() manifest { return new(specs.HTTPRouteGroup) }, tolerateRoutes, false},
		{smi.KindTCPRoute, "specs.smi-spec.io", []string{"v1alpha4", "v1alpha3"}, func() manifest { return new(specs.TCPRoute) }, tolerateTopLevelMatches, false},
		{smi.KindUDPRoute, "specs.smi-spec.io", []string{"v1alpha4"}, func() manifest { return new(specs.UDPRoute) }, tolerateTopLevelMatches, false},
		{smi.KindTrafficSplit, "split.smi-spec.io", []string{"v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1"}, func() manifest { return new(split.TrafficSplit) }, tolerateWeights, false},
		{smi.KindNamespace, "", []string{"v1"}, func() manifest { return new(corev1.Namespace) }, nil, true},
		{smi.KindWorkload, "wasmesh.io", []string{"v1alpha1"}, func() manifest { return new(v1alpha1.Workload) }, nil, false},
		{smi.KindWasmFilter, "wasmesh.io", []string{"v1alpha1"}, func() manifest { return new(v1alpha1.WasmFilter) }, nil, false},
	}
}

// decodeObject turns fields into a typed object. The value is nil if the
// problems are such that the object cannot be used.
func decodeObject(fields map[string]any) (mesh.Object, manifest, []mesh.Problem) {
	object := objectOf(fields)
	k, problem := kindOf(fields)
	if problem.Cause == "" {
		problem = checkName(object)
	}
	if problem.Cause != "" {
		problem.Object = object
		return object, nil, []mesh.Problem{problem}
	}
	var problems []mesh.Problem
	if k.tolerate != nil {
		problems = k.tolerate(fields)
	}
	value := k.empty()
	if len(problems) == 0 {
		problems = decodeStrict(fields, value)
	}
	for i := range problems {
		problems[i].Object, problems[i].Effect = object, mesh.Broken
	}
	if len(problems) > 0 {
		return object, nil, problems
	}
	value.SetNamespace(object.Name.Namespace)
	// A time copied from a cluster says nothing about this folder; see Source.
	value.SetCreationTimestamp(metav1.Time{})
	if k.name == smi.KindUDPRoute {
		problems = append(problems, mesh.Problem{Object: object, Effect: mesh.Inert,
			Cause: "UDPRoutes are read but not enforced.", Try: "Restrict UDP outside the mesh."})
	}
	return object, value, problems
}

// objectOf names the object; it is empty if the object has no name.
func objectOf(fields map[string]any) mesh.Object {
	metadata, _ := fields["metadata"].(map[string]any)
	kind, _ := fields["kind"].(string)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if name == "" {
		return mesh.Object{}
	}
	return mesh.Object{Kind: kind, Name: mesh.Name{Namespace: namespaceOf(kind, namespace), Name: name}}
}

// namespaceOf returns where an object is: nowhere if its kind is cluster-scoped.
func namespaceOf(kind, namespace string) string {
	for _, k := range kinds() {
		if k.name == kind && k.clusterScoped {
			return ""
		}
	}
	if namespace == "" {
		return defaultNamespace
	}
	return namespace
}

// kindOf finds the kind that fields declare, or the problem with it. A kind that
// is none of ours is Inert: folders are shared with kubectl. But one that looks
// like ours is Broken, because somebody relies on it.
func kindOf(fields map[string]any) (kind, mesh.Problem) {
	name, _ := fields["kind"].(string)
	apiVersion, _ := fields["apiVersion"].(string)
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", apiVersion
	}
	var all, near []string
	for _, k := range kinds() {
		all = append(all, k.name)
		if k.group == group {
			near = append(near, k.name)
		}
		if k.name != name {
			continue
		}
		if k.group == group && slices.Contains(k.versions, version) {
			return k, mesh.Problem{}
		}
		return kind{}, mesh.Problem{Field: "apiVersion", Effect: mesh.Broken,
			Cause: fmt.Sprintf("version %q of %s is not served; the object is not used.", apiVersion, name),
			Try:   fmt.Sprintf("Use %s.", served(k))}
	}
	problem := mesh.Problem{Field: "kind", Effect: mesh.Inert,
		Cause: fmt.Sprintf("kind %q is not one that the mesh reads; the object is ignored.", name),
		Try:   fmt.Sprintf("Supported are %s.", strings.Join(all, ", "))}
	suggestion, found := smi.Nearest(name, near)
	if found {
		problem.Try = fmt.Sprintf("Did you mean %q? %s", suggestion, problem.Try)
	}
	if found || name == "" || group != "" && len(near) > 0 {
		problem.Effect = mesh.Broken
	}
	return kind{}, problem
}

func served(k kind) string {
	var out []string
	for _, v := range k.versions {
		if k.group != "" {
			v = k.group + "/" + v
		}
		out = append(out, v)
	}
	return strings.Join(out, " or ")
}

// checkName holds names to what Kubernetes takes: they end up in SPIFFE IDs,
// where a slash would forge another identity.
func checkName(o mesh.Object) mesh.Problem {
	const spelling = "Use lower-case letters, digits and dashes."
	switch {
	case o.Name.Name == "":
		return mesh.Problem{Effect: mesh.Broken, Field: "metadata", Cause: "the object has no name.", Try: "Set metadata.name."}
	case len(validation.IsDNS1123Subdomain(o.Name.Name)) > 0:
		return mesh.Problem{Effect: mesh.Broken, Field: "metadata.name", Cause: fmt.Sprintf("%q cannot be the name of an object.", o.Name.Name), Try: spelling}
	case o.Name.Namespace != "" && len(validation.IsDNS1123Label(o.Name.Namespace)) > 0:
		return mesh.Problem{Effect: mesh.Broken, Field: "metadata.namespace", Cause: fmt.Sprintf("%q cannot be the name of a namespace.", o.Name.Namespace), Try: spelling}
	}
	return mesh.Problem{}
}
