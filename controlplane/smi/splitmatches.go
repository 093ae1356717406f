package smi

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// conditions merges the groups that a split names: a request that meets any
// match of any of them is split (smi-rules 75). What cannot be resolved is never
// met, so that it never turns a conditional split into one for all requests
// (smi-rules 77).
func (r *resolver) conditions(o mesh.Object, refs []corev1.TypedLocalObjectReference) []mesh.Condition {
	var out []mesh.Condition
	taken := map[string]bool{}
	for i, ref := range refs {
		field := fmt.Sprintf("spec.matches[%d]", i)
		for _, m := range r.groupFor(o, field, ref).matches {
			if taken[m.match.Name] {
				continue
			}
			taken[m.match.Name] = true
			if c, ok := r.condition(o, field, m); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// groupFor returns the group that a split refers to, an empty one if there is
// none.
func (r *resolver) groupFor(o mesh.Object, field string, ref corev1.TypedLocalObjectReference) group {
	name := mesh.Name{Namespace: o.Name.Namespace, Name: ref.Name}
	g, ok := r.routeGroups[name]
	switch {
	case ref.Kind != KindHTTPRouteGroup:
		r.inert(o, field+".kind", fmt.Sprintf("kind %q cannot match requests; no request meets it.", ref.Kind),
			r.tryWord(ref.Kind, []string{KindHTTPRouteGroup}, "Use HTTPRouteGroup."))
	case stringOf(ref.APIGroup) != "" && *ref.APIGroup != specs.SchemeGroupVersion.Group:
		r.inert(o, field+".apiGroup", fmt.Sprintf("group %q has no HTTPRouteGroup; no request meets it.", *ref.APIGroup),
			fmt.Sprintf("Use %s, or leave it out.", specs.SchemeGroupVersion.Group))
	case !ok:
		r.inert(o, field+".name", fmt.Sprintf("HTTPRouteGroup %q does not exist in namespace %s. No request meets it until it does.",
			name.Name, name.Namespace), r.tryName(name, r.groupNames))
		r.rule(77)
	default:
		if len(g.matches) == 0 {
			r.inert(o, field+".name", fmt.Sprintf("HTTPRouteGroup %q has no usable match, so no request meets it.", name.Name), "Give it one.")
		}
		return g
	}
	return group{}
}

// condition writes a match as text for the proxies' own matcher.
func (r *resolver) condition(o mesh.Object, field string, m namedMatch) (mesh.Condition, bool) {
	c := mesh.Condition{Match: m.match}
	c.Match.Headers = nil
	size := 0
	if m.spec.PathRegex != "" {
		re := parsed(m.spec.PathRegex)
		c.Path, size = ascii.inBytes(re), proxyProgram(re)
		if !r.settings.PathFull {
			c.Path += "(?s:.*)" // smi-rules 36
		}
	}
	// match has compiled them in this order.
	for i, name := range slices.Sorted(maps.Keys(m.spec.Headers)) {
		h, value := asRouted(m.match.Headers[i], m.spec.Headers[name])
		re := parsed(value)
		size = max(size, proxyProgram(re))
		c.Match.Headers = append(c.Match.Headers, h)
		c.Headers = append(c.Headers, mesh.HeaderCondition{Name: h.Name, Value: anyRune.inBytes(re)})
	}
	if size > maxProxyProgram {
		r.inert(o, field+".name", fmt.Sprintf("match %s is too large for the routes of a proxy; no request meets it.", m.match.Name),
			"Use fewer Unicode classes, or smaller counts.")
		return mesh.Condition{}, false
	}
	return c, true
}

// asRouted returns a header condition and its text as routes compare it: an
// authority without regard to case, since access sees it in lower case but the
// proxies' routes as it was sent.
func asRouted(h policy.HeaderMatch, value string) (policy.HeaderMatch, string) {
	if h.Name == "host" {
		folded := "(?i:" + parsed(value).String() + ")"
		if a, err := pattern.Value(folded); err == nil {
			h.Value, value = a, folded
		}
	}
	return h, value
}
