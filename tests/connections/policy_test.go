package connections

import (
	"fmt"
	"strings"
)

// grant is one TrafficTarget with the routes it refers to. Its sources are
// service accounts of namespace calls.
type grant struct {
	name    string
	to      string // namespace and service account alike
	sources []string
	// ports are those of a TCPRoute; nil for no TCPRoute, empty for every port.
	ports []int
	// paths are patterns of an HTTPRouteGroup; nil for no group.
	paths []string
}

// every is any port and any request at a namespace's servers.
func every(name, to string, sources ...string) grant {
	return grant{name: name, to: to, sources: sources, ports: []int{}}
}

// manifests writes grants as a user would.
func manifests(grants ...grant) string {
	var out strings.Builder
	for _, g := range grants {
		fmt.Fprintf(&out, "---\napiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\n"+
			"metadata: {name: %s, namespace: %s}\nspec:\n  destination: {kind: ServiceAccount, name: %s}\n  sources:\n", g.name, g.to, g.to)
		for _, s := range g.sources {
			fmt.Fprintf(&out, "    - {kind: ServiceAccount, name: %s, namespace: calls}\n", s)
		}
		out.WriteString("  rules:\n")
		if g.ports != nil {
			fmt.Fprintf(&out, "    - {kind: TCPRoute, name: %s}\n", g.name)
		}
		if g.paths != nil {
			fmt.Fprintf(&out, "    - {kind: HTTPRouteGroup, name: %s}\n", g.name)
		}
		if g.ports != nil {
			fmt.Fprintf(&out, "---\napiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\n"+
				"metadata: {name: %s, namespace: %s}\nspec: {matches: {ports: [%s]}}\n", g.name, g.to, list(g.ports))
		}
		if g.paths != nil {
			fmt.Fprintf(&out, "---\napiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\n"+
				"metadata: {name: %s, namespace: %s}\nspec:\n  matches:\n", g.name, g.to)
			for i, p := range g.paths {
				fmt.Fprintf(&out, "    - {name: m%d, pathRegex: %q}\n", i, p)
			}
		}
	}
	return out.String()
}

func list(ports []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ", "), "[]")
}

// labelled is a Namespace with labels, given as "mode: audit".
func labelled(namespace string, labels ...string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels:\n    wasmesh.io/%s\n",
		namespace, strings.Join(labels, "\n    wasmesh.io/"))
}
