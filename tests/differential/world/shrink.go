package world

import (
	"maps"
	"slices"
)

// shrinkSteps bounds how often Shrink asks.
const shrinkSteps = 2000

// Shrink takes away from a world and its request what is not needed for fails
// to stay true.
func Shrink(w World, r Request, fails func(World, Request) bool) (World, Request) {
	asked := 0
	for smaller := true; smaller && asked < shrinkSteps; {
		smaller = false
		for n := 0; asked < shrinkSteps; n++ {
			next, request, more := w.without(r, n)
			if !more {
				break
			}
			asked++
			if fails(next, request) {
				w, r, smaller = next, request, true
				n--
			}
		}
	}
	return w, r
}

// without returns the world without its nth part; false if there are fewer.
func (w World) without(r Request, n int) (World, Request, bool) {
	out := w.Clone()
	o := &out.Objects
	c := counter(n)
	done := cut(&c, &o.TrafficTargets) || cut(&c, &o.HTTPRouteGroups) || cut(&c, &o.TCPRoutes) || cut(&c, &o.ServiceAccounts)
	for _, t := range o.TrafficTargets {
		done = done || cut(&c, &t.Spec.Rules) || cut(&c, &t.Spec.Sources)
		for i := range t.Spec.Rules {
			done = done || cut(&c, &t.Spec.Rules[i].Matches)
		}
	}
	for _, route := range o.TCPRoutes {
		done = done || cut(&c, &route.Spec.Matches.Ports)
	}
	for _, g := range o.HTTPRouteGroups {
		done = done || cut(&c, &g.Spec.Matches)
		for i := range g.Spec.Matches {
			match := &g.Spec.Matches[i]
			done = done || cut(&c, &match.Methods)
			for _, name := range slices.Sorted(maps.Keys(match.Headers)) {
				if !done && c.hit() {
					delete(match.Headers, name)
					done = true
				}
			}
			if !done && match.PathRegex != "" && c.hit() {
				match.PathRegex, done = "", true
			}
		}
	}
	if done {
		return out, r, true
	}
	// The authority stays: no request comes without.
	first, rest := r.Headers[:1], slices.Clone(r.Headers[1:])
	done = cut(&c, &rest)
	r.Headers = slices.Concat(first, rest)
	return out, r, done
}

// counter counts down to the part that goes.
type counter int

func (c *counter) hit() bool {
	*c--
	return *c < 0
}

func cut[T any](c *counter, from *[]T) bool {
	if int(*c) < len(*from) {
		*from = slices.Delete(*from, int(*c), int(*c)+1)
		return true
	}
	*c -= counter(len(*from))
	return false
}
