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
	}
}

func lastGood[T metav1.Object](kind string, last, next []T, broken map[mesh.Object]bool) []T {
	var out []T
	for _, o := range next {
		if !broken[mesh.Object{Kind: kind, Name: nameOf(o)}] {
			out = append(out, o)
			continue
		}
		for _, old := range last {
			if nameOf(old) == nameOf(o) {
				out = append(out, old)
			}
		}
	}
	return out
}

// Settle makes the snapshot to serve: that of next with every Broken object put
// back to its form in last. One that has no form in last is used as far as it
// can be: its broken parts grant nothing (smi-rules 39). Settle returns the
// snapshot, what is last for the next time, and the problems of next. A reader
// that starts anew gives empty objects as last, and sees what a control plane
// that starts anew would serve.
func Settle(last, next Objects, settings Settings) (*mesh.Snapshot, Objects, []mesh.Problem) {
	snapshot, problems := Snapshot(next, settings)
	good := LastGood(last, next, problems)
	for _, p := range problems {
		if p.Effect == mesh.Broken {
			snapshot, _ = Snapshot(LastGood(withNew(last, next), next, problems), settings)
			break
		}
	}
	return snapshot, good, problems
}

// withNew is last with those objects of next that last does not have.
func withNew(last, next Objects) Objects {
	return Objects{
		Services:        addNew(last.Services, next.Services),
		ServiceAccounts: addNew(last.ServiceAccounts, next.ServiceAccounts),
		TrafficTargets:  addNew(last.TrafficTargets, next.TrafficTargets),
		HTTPRouteGroups: addNew(last.HTTPRouteGroups, next.HTTPRouteGroups),
		TCPRoutes:       addNew(last.TCPRoutes, next.TCPRoutes),
		TrafficSplits:   addNew(last.TrafficSplits, next.TrafficSplits),
		Workloads:       addNew(last.Workloads, next.Workloads),
	}
}

func addNew[T metav1.Object](last, next []T) []T {
	known := map[mesh.Name]bool{}
	for _, o := range last {
		known[nameOf(o)] = true
	}
	out := slices.Clone(last)
	for _, o := range next {
		if !known[nameOf(o)] {
			out = append(out, o)
		}
	}
	return out
}
