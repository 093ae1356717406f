package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Direction says which way an edit may move what is allowed.
type Direction int

// The directions.
const (
	// Wider: whatever was allowed still is.
	Wider Direction = iota
	// Narrower: whatever is allowed was so before.
	Narrower
)

// Edit is a change of a world of which the direction is known (smi-rules 3, 5).
//
// These look like additions or removals and are not among the edits, as they
// may move either way:
//   - a rule taken from a target that has both kinds: each restricts the other
//     (23, 24, 25); so does a TCPRoute that is the only one;
//   - a rule taken away whose TCPRoute is missing or whose kind is unknown: the
//     target was inert for its sake (22);
//   - the last name taken from `matches`, the last port from a TCPRoute, the last
//     method from a match: none means all (19, 27, 41);
//   - a second match of one name in a group: the last wins (51), so one more
//     takes the place of another, and one less gives it back;
//   - a method taken away that is none: the match was void for its sake (42);
//   - a path, header or list of methods taken away: that is a restriction (45).
type Edit struct {
	Title     string
	Direction Direction
	// Apply returns the changed world; false: there is nothing to change in it.
	Apply func(World) (World, bool)
}

// Edit returns an edit of the world, drawn with the given seed.
func (w World) Edit(seed, index uint64) Edit {
	m := &maker{Rand: rand.New(rand.NewPCG(^seed, index)), w: w, samples: map[string]sampler{}}
	switch m.IntN(3) {
	case 0:
		return m.addition()
	case 1:
		return m.removal()
	}
	return m.breakage()
}

// addition puts one more object into the world, perhaps one that was missing.
func (m *maker) addition() Edit {
	namespace := pick(m, home, home, "people")
	switch m.IntN(4) {
	case 0:
		t := m.target(namespace, "added")
		return adding("TrafficTarget", t, func(w *World) *[]*access.TrafficTarget { return &w.Objects.TrafficTargets })
	case 1:
		g := m.group(namespace, pick(m, "g0", "g1", "g2", "g3", "gone"))
		return adding("HTTPRouteGroup", g, func(w *World) *[]*specs.HTTPRouteGroup { return &w.Objects.HTTPRouteGroups })
	case 2:
		r := m.route(namespace, pick(m, "r0", "r1", "r2", "gone"))
		return adding("TCPRoute", r, func(w *World) *[]*specs.TCPRoute { return &w.Objects.TCPRoutes })
	}
	account := m.w.Clone().Objects.ServiceAccounts[0]
	account.Namespace, account.Name = pick(m, "shop", "people", "other"), pick(m, "reader", "buyer", "till", "store", "stroe", "raeder")
	return Edit{"adding ServiceAccount " + account.Namespace + "/" + account.Name, Wider, func(w World) (World, bool) {
		out := w.Clone()
		return out, add(&out.Objects.ServiceAccounts, account)
	}}
}

type object interface{ GetNamespace() string }

type named interface {
	object
	GetName() string
}

func adding[T named](kind string, o T, in func(*World) *[]T) Edit {
	return Edit{fmt.Sprintf("adding %s %s/%s", kind, o.GetNamespace(), o.GetName()), Wider, func(w World) (World, bool) {
		out := w.Clone()
		return out, add(in(&out), o)
	}}
}

// add is false where the name is taken: that would be a change.
func add[T named](objects *[]T, o T) bool {
	for _, other := range *objects {
		if other.GetNamespace() == o.GetNamespace() && other.GetName() == o.GetName() {
			return false
		}
	}
	*objects = append(*objects, o)
	return true
}

// removal takes away one object, or one thing that an object grants.
func (m *maker) removal() Edit {
	o, n := m.w.Objects, m.IntN(100)
	narrower := func(what string, cut func(*World) bool) Edit {
		return Edit{"removing " + what, Narrower, func(w World) (World, bool) {
			out := w.Clone()
			return out, cut(&out)
		}}
	}
	switch m.IntN(8) {
	case 0:
		return narrower("a TrafficTarget", func(w *World) bool { return drop(&w.Objects.TrafficTargets, n) })
	case 1:
		return narrower("an HTTPRouteGroup", func(w *World) bool { return drop(&w.Objects.HTTPRouteGroups, n) })
	case 2:
		return narrower("a TCPRoute", func(w *World) bool { return drop(&w.Objects.TCPRoutes, n) })
	case 3:
		return narrower("a ServiceAccount", func(w *World) bool { return drop(&w.Objects.ServiceAccounts, n) })
	case 4:
		return narrower("a source", func(w *World) bool {
			t := at(w.Objects.TrafficTargets, n)
			return t != nil && drop(&t.Spec.Sources, n/2)
		})
	case 5:
		return narrower("a rule", func(w *World) bool { return dropRule(*w, at(w.Objects.TrafficTargets, n), n/2) })
	case 6:
		return narrower("a match", func(w *World) bool {
			g := at(w.Objects.HTTPRouteGroups, n)
			return g != nil && !twice(g) && drop(&g.Spec.Matches, n/2)
		})
	}
	return narrower("a port", func(w *World) bool {
		r := at(w.Objects.TCPRoutes, n%max(1, len(o.TCPRoutes)))
		return r != nil && len(r.Spec.Matches.Ports) > 1 && drop(&r.Spec.Matches.Ports, n/2)
	})
}

// at returns the nth of the objects, counted around; nil if there is none.
func at[T any](objects []*T, n int) *T {
	if len(objects) == 0 {
		return nil
	}
	return objects[n%len(objects)]
}

func drop[T any](from *[]T, n int) bool {
	if len(*from) == 0 {
		return false
	}
	i := n % len(*from)
	*from = slices.Delete(*from, i, i+1)
	return true
}

// dropRule takes a rule away where another of its kind restricts as before.
func dropRule(w World, t *access.TrafficTarget, n int) bool {
	if t == nil || len(t.Spec.Rules) == 0 {
		return false
	}
	gone := t.Spec.Rules[n%len(t.Spec.Rules)]
	count := map[string]int{}
	for _, r := range t.Spec.Rules {
		count[r.Kind]++
	}
	switch {
	case gone.Kind == smi.KindHTTPRouteGroup && (count[gone.Kind] > 1 || count[smi.KindTCPRoute] == 0):
	case gone.Kind == smi.KindTCPRoute && count[gone.Kind] > 1 && w.route(t.Namespace, gone.Name) != nil:
	default:
		return false
	}
	return drop(&t.Spec.Rules, n)
}

// twice says whether two matches of a group have one name.
func twice(g *specs.HTTPRouteGroup) bool {
	seen := map[string]bool{}
	for _, match := range g.Spec.Matches {
		if match.Name != "" && seen[match.Name] {
			return true
		}
		seen[match.Name] = true
	}
	return false
}

// breakage makes a reference lead nowhere, or a part unreadable.
func (m *maker) breakage() Edit {
	n, how := m.IntN(100), m.IntN(8)
	return Edit{fmt.Sprintf("breaking a reference (%d)", how), Narrower, func(w World) (World, bool) {
		out := w.Clone()
		if how == 7 {
			return out, breakMatch(at(out.Objects.HTTPRouteGroups, n), n/2)
		}
		t := at(out.Objects.TrafficTargets, n)
		return out, t != nil && breakTarget(&t.Spec, n/2, how)
	}}
}

func breakTarget(t *access.TrafficTargetSpec, n, how int) bool {
	source, rule := item(t.Sources, n), item(t.Rules, n)
	switch {
	case how == 0:
		t.Destination.Name = "missing"
	case how == 1:
		t.Destination.Kind = "Group"
	case how == 2 && source != nil:
		source.Name = "missing"
	case how == 3 && source != nil:
		source.Kind = "Group"
	case how == 4 && rule != nil && rule.Kind != smi.KindUDPRoute:
		rule.Name = "missing"
	case how == 5 && rule != nil:
		rule.Kind = "GRPCRoute"
	case how == 6 && rule != nil && len(rule.Matches) > 0:
		rule.Matches[n%len(rule.Matches)] = "missing"
	default:
		return false
	}
	return true
}

func item[T any](of []T, n int) *T {
	if len(of) == 0 {
		return nil
	}
	return &of[n%len(of)]
}

func breakMatch(g *specs.HTTPRouteGroup, n int) bool {
	if g == nil || len(g.Spec.Matches) == 0 {
		return false
	}
	match := &g.Spec.Matches[n%len(g.Spec.Matches)]
	match.PathRegex = strings.Repeat("(", 1+n%2)
	return true
}
