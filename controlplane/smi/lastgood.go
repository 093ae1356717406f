package smi

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// LastGood returns next with every object that is Broken put back to its form
// in last, or removed where last has none. It keeps a running mesh on what last
// worked while somebody mends the object; everything else of next applies, and
// an object that is gone from next stays gone.
//
// last is what LastGood returned the time before, and empty at first; problems
// are those that Snapshot found in next. The caller makes the snapshot to serve
// from the result, but goes on reporting the problems of next: they speak of
// what people wrote.
func LastGood(last, next Objects, problems []mesh.Problem) Objects {
	broken := map[mesh.Object]bool{}
	for _, p := range problems {
		if p.Effect == mesh.Broken {
			broken[p.Object] = true
		}
	}
	return Objects{
		Services:        lastGood(KindService, last.Services, next.Services, broken),
		ServiceAccounts: lastGood(KindServiceAccount, last.ServiceAccounts, next.ServiceAccounts, broken),
		TrafficTargets:  lastGood(KindTrafficTarget, last.TrafficTargets, next.TrafficTargets, broken),
		HTTPRouteGroups: lastGood(KindHTTPRouteGroup, last.HTTPRouteGroups, next.HTTPRouteGroups, broken),
		TCPRoutes:       lastGood(KindTCPRoute, last.TCPRoutes, next.TCPRoutes, broken),
		TrafficSplits:   lastGood(KindTrafficSplit, last.TrafficSplits, next.TrafficSplits, broken),
		Workloads:       lastGood(KindWorkload, last.Workloads, next.Workloads, broken),
		Namespaces:      lastGood(KindNamespace, last.Namespaces, next.Namespaces, broken),
		WasmFilters:     lastGood(KindWasmFilter, last.WasmFilters, next.WasmFilters, broken),
		// What a cluster says of itself has no better form than the last one.
		Pods:           next.Pods,
		EndpointSlices: next.EndpointSlices,
	}
}

func lastGood[T metav1.Object](kind string, last, next []T, broken map[mesh.Object]bool) []T {
	before := make(map[mesh.Name]T, len(last))
	for _, old := range last {
		before[nameOf(old)] = old
	}
	var out []T
	for _, o := range next {
		if !broken[mesh.Object{Kind: kind, Name: nameOf(o)}] {
			out = append(out, o)
		} else if old, ok := before[nameOf(o)]; ok {
			out = append(out, old)
		}
	}
	return out
}

// Settle makes the snapshot to serve: that of next with every Broken object put
// back to its form in last. A granting object that has no form in last is used
// as far as it can be: its broken parts grant nothing (smi-rules 39). Settle
// returns the snapshot, what is last for the next time, and the problems of
// next. A reader that starts anew gives empty objects as last, and sees what a
// control plane that starts anew would serve.
func Settle(last, next Objects, settings Settings) (*mesh.Snapshot, Objects, []mesh.Problem) {
	p := patterns{}
	out, problems := snapshot(next, settings, p)
	good := LastGood(last, next, problems)
	if !anyBroken(problems) {
		return out, good, problems
	}
	if _, again := snapshot(good, settings, p); anyBroken(again) {
		good = hold(last, good, again)
	}
	out, _ = snapshot(withNewGrants(good, next), settings, p)
	return out, good, problems
}

// withNewGrants adds the objects of next that never were good, of those kinds
// that take no place from others.
func withNewGrants(good, next Objects) Objects {
	good.TrafficTargets = addNew(good.TrafficTargets, next.TrafficTargets)
	good.HTTPRouteGroups = addNew(good.HTTPRouteGroups, next.HTTPRouteGroups)
	good.TCPRoutes = addNew(good.TCPRoutes, next.TCPRoutes)
	// Nor does a filter, and one that is meant to deny must not be missing.
	good.WasmFilters = addNew(good.WasmFilters, next.WasmFilters)
	return good
}

func addNew[T metav1.Object](good, next []T) []T {
	known := map[mesh.Name]bool{}
	for _, o := range good {
		known[nameOf(o)] = true
	}
	out := slices.Clone(good)
	for _, o := range next {
		if !known[nameOf(o)] {
			out = append(out, o)
		}
	}
	return out
}

func anyBroken(problems []mesh.Problem) bool {
	return slices.ContainsFunc(problems, func(p mesh.Problem) bool { return p.Effect == mesh.Broken })
}

// hold puts back more where LastGood was not enough: an object that is as it was
// and yet Broken lost its place to another that moved there. Which one did, the
// problem cannot say, so every edit of that kind waits. Kinds that grant are no
// part of this: they take no places, and a revocation must not wait.
func hold(last, good Objects, problems []mesh.Problem) Objects {
	victims := map[string]map[mesh.Name]bool{KindService: {}, KindWorkload: {}, KindTrafficSplit: {}}
	for _, p := range problems {
		if of, places := victims[p.Object.Kind]; places && p.Effect == mesh.Broken {
			of[p.Object.Name] = true
		}
	}
	good.Services = waiting(last.Services, good.Services, victims[KindService])
	good.Workloads = waiting(last.Workloads, good.Workloads, victims[KindWorkload])
	good.TrafficSplits = waiting(last.TrafficSplits, good.TrafficSplits, victims[KindTrafficSplit])
	return good
}

// waiting returns those of next that last has too, in their last form, if one of
// the victims is in last. What is gone stays gone.
func waiting[T metav1.Object](last, next []T, victims map[mesh.Name]bool) []T {
	if !slices.ContainsFunc(last, func(o T) bool { return victims[nameOf(o)] }) {
		return next
	}
	there := namesOf(next)
	var out []T
	for _, old := range last {
		if there[nameOf(old)] {
			out = append(out, old)
		}
	}
	return out
}
