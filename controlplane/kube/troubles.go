package kube

import (
	"fmt"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// troubles are what is wrong with the watching: kinds that are missing or
// refused, and a server that does not answer, which is one trouble of all kinds.
func (s *Source) troubles() []mesh.Problem {
	var out []mesh.Problem
	var away trouble
	for _, p := range s.supplies {
		t := p.trouble(time.Now())
		if t.missing {
			out = append(out, mesh.Problem{Effect: mesh.Inert, Where: p.feed.resource + "." + p.feed.group,
				Cause: fmt.Sprintf("the cluster has no kind %s of a version that is read, so there are no such objects.", p.feed.kind),
				Try:   "Install its CustomResourceDefinition; it is taken up within seconds."})
		}
		switch {
		case t.since.IsZero():
		case t.unreachable:
			if away.since.IsZero() || t.since.Before(away.since) {
				away = t
			}
		default:
			out = append(out, mesh.Problem{Effect: mesh.Inert, Where: "API server",
				Cause: fmt.Sprintf("%s cannot be watched: %s; what was known stays in force.", p.feed.resource, t.cause),
				Try:   "Give the control plane the roles of its chart."})
		}
	}
	if !away.since.IsZero() {
		out = append(out, mesh.Problem{Effect: mesh.Inert, Where: "API server",
			Cause: fmt.Sprintf("it cannot be watched: %s; what was known stays in force.", away.cause),
			Try:   "It is tried again every few seconds."})
	}
	return out
}
