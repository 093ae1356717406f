package apiserver

import (
	"fmt"
	"strings"
)

// definition is a CustomResourceDefinition that takes anything, as those of other
// installations do: what the schema of ours refuses must do no harm either.
func definition(group, kind, plural, scope string, status bool, versions ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.%s}
spec:
  group: %s
  names: {kind: %s, plural: %s, singular: %s}
  scope: %s
  versions:
`, plural, group, group, kind, plural, strings.ToLower(kind), scope)
	for i, v := range versions {
		sub := ""
		if status {
			sub = "subresources: {status: {}}, "
		}
		fmt.Fprintf(&b, "  - {name: %s, served: true, storage: %t, %sschema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", v, i == 0, sub)
	}
	return b.String()
}

func definitions() string {
	return definition("access.smi-spec.io", "TrafficTarget", "traffictargets", "Namespaced", false, "v1alpha3") +
		definition("specs.smi-spec.io", "HTTPRouteGroup", "httproutegroups", "Namespaced", false, "v1alpha4") +
		definition("specs.smi-spec.io", "TCPRoute", "tcproutes", "Namespaced", false, "v1alpha4") +
		definition("specs.smi-spec.io", "UDPRoute", "udproutes", "Namespaced", false, "v1alpha4") +
		definition("split.smi-spec.io", "TrafficSplit", "trafficsplits", "Namespaced", false, "v1alpha4", "v1alpha1") +
		definition("wasmesh.io", "WasmFilter", "wasmfilters", "Namespaced", true, "v1alpha1") +
		definition("wasmesh.io", "Workload", "workloads", "Namespaced", true, "v1alpha1")
}

// bookstore is a small mesh: a namespace that opted in, two accounts, a service
// and who may call it.
const bookstore = `---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {wasmesh.io/inject: enabled}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bookstore, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: bookbuyer, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: bookstore, namespace: shop}
spec: {selector: {app: bookstore}, ports: [{name: http, port: 80}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: books, namespace: shop}
spec: {matches: [{name: buy, pathRegex: /buy, methods: [GET], headers: {x-version: v2}}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyers, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: bookstore, namespace: shop}
  sources: [{kind: ServiceAccount, name: bookbuyer, namespace: shop}]
  rules: [{kind: HTTPRouteGroup, name: books, matches: [buy]}]
`
