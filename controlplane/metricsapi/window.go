package metricsapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// MaxTargets is how many sidecars a Window keeps.
	MaxTargets = 10_000
	// MaxKept is how many series it keeps of all sidecars.
	MaxKept = 400_000
)

// Window keeps the last scrapes of every sidecar. It is not safe for use by two
// goroutines.
type Window struct {
	// keep is how long a scrape is kept, interval how far two are apart.
	keep, interval time.Duration
	targets        map[Peer]*target
	series         int
}

// target is what is kept of one sidecar. A scrape's values stand at the places of
// the series; those that it is too short for are 0.
type target struct {
	places map[series]int
	points []point
	// broke is why the last scrape is missing.
	broke string
}

type point struct {
	at time.Time
	// uptime is how long the sidecar has been running, in whole seconds; 0 if it
	// does not say.
	uptime time.Duration
	values []float64
}

// NewWindow keeps scrapes that are an interval apart for as long as said, 1,000
// intervals at most.
func NewWindow(keep, interval time.Duration) *Window {
	interval = max(interval, time.Millisecond)
	return &Window{keep: min(keep, 1000*interval), interval: interval, targets: map[Peer]*target{}}
}

// Longest is the longest span of time that Traffic can be asked about.
func (w *Window) Longest() time.Duration { return w.keep }

// Shortest is the shortest.
func (w *Window) Shortest() time.Duration { return w.interval }

// Add takes in a scrape of the sidecar of a destination.
func (w *Window) Add(of Peer, s Scrape, at time.Time) {
	t := w.target(of)
	if t == nil {
		return
	}
	if n := len(t.points); n > 0 && !at.After(t.points[n-1].at) {
		return // the clock was set back: nothing can be compared with what was before
	}
	p := point{at: at, uptime: s.Uptime, values: make([]float64, len(t.places), max(len(t.places), len(s.values)))}
	t.broke = ""
	for k, v := range s.values {
		place, known := t.places[k]
		if !known {
			if w.series == MaxKept {
				t.broke = fmt.Sprintf("has series beyond the %d that are kept", MaxKept)
				continue
			}
			place = len(t.places)
			t.places[k] = place
			w.series++
		}
		for place >= len(p.values) {
			p.values = append(p.values, 0)
		}
		p.values[place] = v
	}
	t.points = append(t.points, p)
	// One more than the window needs, as its beginning.
	for len(t.points) > 2 && at.Sub(t.points[1].at) > w.keep+w.interval {
		t.points = t.points[1:]
	}
}

// Kept is how many scrapes are kept.
func (w *Window) Kept() int {
	n := 0
	for _, t := range w.targets {
		n += len(t.points)
	}
	return n
}

// Fail takes in that a sidecar could not be scraped, and why.
func (w *Window) Fail(of Peer, cause string) {
	if t := w.target(of); t != nil {
		t.broke = cause
	}
}

func (w *Window) target(of Peer) *target {
	t := w.targets[of]
	if t == nil && len(w.targets) < MaxTargets {
		t = &target{places: map[series]int{}}
		w.targets[of] = t
	}
	return t
}

// Retain forgets all sidecars but these.
func (w *Window) Retain(present map[Peer]bool) {
	for of, t := range w.targets {
		if !present[of] {
			w.series -= len(t.places)
			delete(w.targets, of)
		}
	}
}

// Traffic is what the sidecars counted in a window that ends now, each between two
// of its scrapes.
func (w *Window) Traffic(window time.Duration, now time.Time) Traffic {
	out := Traffic{At: now}
	all := flows{}
	for _, of := range slices.SortedFunc(maps.Keys(w.targets), Peer.compare) {
		t := w.targets[of]
		begin, whole, lack := t.begin(window, now, w.interval)
		if lack = cmp.Or(t.broke, lack); lack != "" {
			out.Misses = append(out.Misses, Miss{of, lack})
		}
		if begin < 0 {
			continue
		}
		for k, place := range t.places {
			edge := k.edge.Value()
			edge[1].Pod = cmp.Or(edge[1].Pod, of.Pod)
			all.add(edge, k, t.increase(place, begin, whole))
		}
	}
	out.Flows = all.list()
	return out
}

// begin is the scrape at which a window begins, -1 if nothing of it is known, and
// what is lacking. whole: the sidecar started within the window, so that all that
// it has counted by then belongs to it.
func (t *target) begin(window time.Duration, now time.Time, interval time.Duration) (begin int, whole bool, lack string) {
	if len(t.points) == 0 {
		return -1, false, "was not read yet"
	}
	last := t.points[len(t.points)-1]
	if age := now.Sub(last.at); age > window {
		return -1, false, fmt.Sprintf("was not read for %v", age.Round(time.Second))
	}
	from := last.at.Add(-window)
	begin = len(t.points) - 1
	for begin > 0 && t.points[begin].at.Sub(from) > interval/2 {
		begin--
	}
	first := t.points[begin]
	if first.at.Sub(from) <= interval/2 {
		return begin, false, ""
	}
	if first.uptime > 0 && first.at.Sub(from) >= first.uptime {
		return begin, true, ""
	}
	return begin, false, fmt.Sprintf("has been read for %v only", last.at.Sub(first.at).Round(time.Second))
}

// increase is by how much a counter grew since a scrape. One that is smaller than
// before, or whose sidecar started meanwhile, began anew.
func (t *target) increase(place, begin int, whole bool) float64 {
	value := func(p point) float64 {
		if place < len(p.values) {
			return p.values[place]
		}
		return 0
	}
	total := 0.0
	if whole {
		total = value(t.points[begin])
	}
	for i := begin + 1; i < len(t.points); i++ {
		before, now := t.points[i-1], t.points[i]
		if value(now) < value(before) || now.startedAfter(before) {
			total += value(now)
			continue
		}
		total += value(now) - value(before)
	}
	return total
}

// startedAfter reports whether the sidecar started after an earlier scrape, for
// certain: the seconds of its uptime are whole ones.
func (p point) startedAfter(before point) bool {
	return p.uptime > 0 && (p.uptime < before.uptime || p.uptime+time.Second <= p.at.Sub(before.at))
}
