package wire

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Decode turns fields into a typed object. The value is nil if the
// problems are such that the object cannot be used.
func Decode(fields map[string]any) (mesh.Object, Object, []mesh.Problem) {
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
	if k.Name == smi.KindUDPRoute {
		problems = append(problems, mesh.Problem{Object: object, Effect: mesh.Inert, Rule: 30,
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
	return mesh.Object{Kind: kind, Name: mesh.Name{Namespace: NamespaceOf(kind, namespace), Name: name}}
}

// NamespaceOf returns where an object of a kind is that names that namespace:
// nowhere if the kind is cluster-scoped, in "default" if it names none.
func NamespaceOf(kind, namespace string) string {
	for _, k := range Kinds() {
		if k.Name == kind && k.ClusterScoped {
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
func kindOf(fields map[string]any) (Kind, mesh.Problem) {
	name, _ := fields["kind"].(string)
	apiVersion, _ := fields["apiVersion"].(string)
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", apiVersion
	}
	var all, near []string
	for _, k := range Kinds() {
		all = append(all, k.Name)
		if k.Group == group {
			near = append(near, k.Name)
		}
		if k.Name != name {
			continue
		}
		if k.Group == group && slices.Contains(k.Versions, version) {
			return k, mesh.Problem{}
		}
		return Kind{}, mesh.Problem{Field: "apiVersion", Effect: mesh.Broken,
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
	return Kind{}, problem
}

func served(k Kind) string {
	var out []string
	for _, v := range k.Versions {
		if k.Group != "" {
			v = k.Group + "/" + v
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
