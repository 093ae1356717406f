package scope

import (
	"fmt"
	"strings"
)

// grant is one TrafficTarget: callers may GET a path at a destination, or
// connect to its opaque port where the path is empty.
type grant struct {
	to   string
	from []string
	path string
}

// policy is what a test writes into the watched folder.
type policy struct {
	grants []grant
	// split gives weights at the root service store; nil is no split.
	split map[string]int
	// remark changes the file and nothing else.
	remark string
}

func usual() policy {
	return policy{grants: []grant{{"store", []string{"buyer"}, "/books"}, {"annex", []string{"clerk"}, "/books"}}}
}

// with is a policy with one more grant.
func (p policy) with(g ...grant) policy {
	p.grants = append(append([]grant{}, p.grants...), g...)
	return p
}

func (p policy) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.remark)
	for i, g := range p.grants {
		name := fmt.Sprintf("%s-%d", g.to, i)
		var sources []string
		for _, s := range g.from {
			sources = append(sources, fmt.Sprintf("{kind: ServiceAccount, name: %s, namespace: shop}", s))
		}
		kind, version, spec := "HTTPRouteGroup", "v1alpha4", fmt.Sprintf("{matches: [{name: m, pathRegex: '%s$', methods: [GET]}]}", g.path)
		if g.path == "" {
			kind, spec = "TCPRoute", "{matches: {ports: [5432]}}"
		}
		fmt.Fprintf(&b, `---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: %s, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: %s, namespace: shop}
  sources: [%s]
  rules: [{kind: %s, name: %s}]
---
apiVersion: specs.smi-spec.io/%s
kind: %s
metadata: {name: %s, namespace: shop}
spec: %s
`, name, g.to, strings.Join(sources, ", "), kind, name, version, kind, name, spec)
	}
	if p.split != nil {
		fmt.Fprintf(&b, `---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: rollout, namespace: shop}
spec:
  service: store
  backends: [{service: store, weight: %d}, {service: annex, weight: %d}]
`, p.split["store"], p.split["annex"])
	}
	return b.String()
}
