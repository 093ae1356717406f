package smi

import (
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
// back to its form in last. It returns the snapshot, the objects it is made of,
// which are last for the next time, and the problems of next. A reader that
// starts anew gives empty objects as last, and sees what a control plane that
// starts anew would serve.
func Settle(last, next Objects, settings Settings) (*mesh.Snapshot, Objects, []mesh.Problem) {
	snapshot, problems := Snapshot(next, settings)
	good := LastGood(last, next, problems)
	for _, p := range problems {
		if p.Effect == mesh.Broken {
			snapshot, _ = Snapshot(good, settings)
			break
		}
	}
	return snapshot, good, problems
}
