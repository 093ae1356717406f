package modules

import (
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Outlook is what is known of a wish.
type Outlook int

const (
	// Awaited: its module is being fetched or inspected, and nothing is known.
	Awaited Outlook = iota
	// Servable: there is a module that sidecars may fetch.
	Servable
	// Unusable: there is none, and it is known why.
	Unusable
)

// Outlook is that of a wish of the last Next.
func (b Book) Outlook(w Wanted) Outlook {
	if _, has := b.Good[w.Name()]; has {
		return Servable
	}
	if cause, _ := b.wrong(w); cause != "" {
		return Unusable
	}
	return Awaited
}

// Underway are the wishes whose module is on its way to its first or its next
// effect, with nothing against it so far.
func (b Book) Underway(wanted []Wanted) []mesh.Problem {
	var out []mesh.Problem
	for _, w := range wanted {
		serving, serves := b.Serving[w.Name()]
		if cause, _ := b.wrong(w); cause != "" || serves && serving.Equal(w.Use) {
			continue
		}
		out = append(out, mesh.Problem{
			Object: w.Object, Effect: mesh.Pending, Where: w.Where,
			Cause: "its module is being fetched and inspected, and sidecars fetch it then.",
		})
	}
	return out
}

// Place is where a filter stands: before a workload.
type Place struct{ Workload, Filter mesh.Name }

// Places are those that sidecars have been given. A workload that runs is given a
// new one only when its sidecar had time to fetch the module, or when it is known
// that there is none: to attach a filter must not by itself refuse what passed
// before. A workload that is new is given all of its places at once, so that
// nothing ever reaches it around a filter. The zero value is that of a start, when
// every workload is new.
type Places struct {
	workloads map[mesh.Name]bool
	given     map[Place]bool
	// servable is since when the sidecar of a place that waits may fetch the module.
	servable map[Place]time.Time
}

// Next takes a snapshot and what is known of its filters. It returns the places
// that are not given yet; later is when to ask again, zero: not before something
// changes.
func (p Places) Next(s *mesh.Snapshot, of func(filter mesh.Name) Outlook, now time.Time) (next Places, waiting map[Place]bool, later time.Duration) {
	next = Places{workloads: map[mesh.Name]bool{}, given: map[Place]bool{}, servable: map[Place]time.Time{}}
	waiting = map[Place]bool{}
	for _, w := range s.Workloads {
		next.workloads[w.Name] = true
		for _, f := range w.Filters {
			place, outlook := Place{w.Name, f.Name}, of(f.Name)
			if !p.workloads[w.Name] || p.given[place] || outlook == Unusable {
				next.given[place] = true
				continue
			}
			if outlook == Awaited {
				waiting[place] = true
				continue
			}
			since, known := p.servable[place]
			if !known {
				since = now
			}
			left := Lead - now.Sub(since)
			if left <= 0 {
				next.given[place] = true
				continue
			}
			next.servable[place], waiting[place] = since, true
			if later == 0 || left < later {
				later = left
			}
		}
	}
	return next, waiting, later
}

// Without is a snapshot in which those places are not there.
func Without(s *mesh.Snapshot, places map[Place]bool) *mesh.Snapshot {
	if len(places) == 0 {
		return s
	}
	out := *s
	out.Workloads = slices.Clone(s.Workloads)
	for i, w := range out.Workloads {
		out.Workloads[i].Filters = slices.DeleteFunc(slices.Clone(w.Filters), func(f mesh.Filter) bool {
			return places[Place{w.Name, f.Name}]
		})
	}
	return &out
}
