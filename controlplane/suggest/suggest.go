// Package suggest writes the SMI objects that would allow what was seen.
//
// Suggest is pure: the same observations and mesh give the same objects, byte
// for byte. It asks the policy that the filter runs what is allowed already. It
// never leaves anything out, and never allows more than was seen, without saying
// so in a Remark; it never suggests a header, as none is observed, and never
// suggests what it could not write exactly.
package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
)

// Suggestion is what to add to the policy, sorted by destination.
type Suggestion struct {
	Groups  []*specs.HTTPRouteGroup
	Routes  []*specs.TCPRoute
	Targets []*access.TrafficTarget
	Remarks []Remark
	// since is when observing began.
	since time.Time
	// notes stand above objects and matches in YAML; by kind, name and match.
	notes map[place]string
	// order is that of the objects in YAML: by destination, what is referred to
	// first.
	order []place
}

// place is an object, or one of its matches.
type place struct {
	kind  string
	name  mesh.Name
	match string
}

// Kind says what a Remark is about.
type Kind string

// The kinds of remarks.
const (
	// LeftOut was seen, and the suggestion does not speak of it.
	LeftOut Kind = "left out"
	// Wider: the suggestion allows more than was seen.
	Wider Kind = "wider than what was seen"
)

// Remark tells what a reader of the suggestion must know.
type Remark struct {
	Kind Kind
	// Destination is the service account concerned; empty for the whole mesh.
	Destination mesh.Name
	Text        string
}

// String returns the line a person reads.
func (r Remark) String() string {
	if r.Destination == (mesh.Name{}) {
		return r.Text
	}
	return r.Destination.String() + ": " + r.Text
}

// Empty reports whether there is nothing to add.
func (s Suggestion) Empty() bool { return len(s.Targets) == 0 }

// Suggest returns the objects to add to the policy of s so that what was seen
// is allowed. None gets a name that is in use: that of an object which exists, be
// there a trace of it in the snapshot or not.
func Suggest(seen observe.Report, s *mesh.Snapshot, inUse ...mesh.Object) Suggestion {
	c := newSieve(s)
	kept := map[mesh.Name][]observe.Observation{}
	for _, o := range sorted(seen.Observations) {
		if c.keeps(o) {
			kept[o.Destination] = append(kept[o.Destination], o)
		}
	}
	out := Suggestion{since: seen.Since, notes: map[place]string{}}
	names := takenNames(s, inUse)
	for _, destination := range slices.SortedFunc(maps.Keys(kept), mesh.Name.Compare) {
		w := writer{destination: destination, names: names, out: &out}
		w.write(planFor(kept[destination], c))
	}
	out.Remarks = append(append(c.remarks(), losses(seen.Losses)...), out.Remarks...)
	slices.SortStableFunc(out.Remarks, func(a, b Remark) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), a.Destination.Compare(b.Destination), strings.Compare(a.Text, b.Text))
	})
	return out
}

func sorted(seen []observe.Observation) []observe.Observation {
	return slices.SortedFunc(slices.Values(seen), observe.Observation.Compare)
}

// losses puts into words what was seen and not kept.
func losses(all []observe.Loss) []Remark {
	var out []Remark
	for _, l := range all {
		text := fmt.Sprintf("%s %s", mesh.Counted(l.Count, "call", "calls"), because(l))
		out = append(out, Remark{LeftOut, l.Destination, text})
	}
	return out
}

func because(l observe.Loss) string {
	at := ""
	if l.Port != 0 {
		at = fmt.Sprintf(" on port %d", l.Port)
	}
	from := ""
	if l.Source != (mesh.Name{}) {
		from = " from " + l.Source.String()
	}
	of := ""
	if l.Method != "" {
		of = " of method " + l.Method
	}
	switch l.Cause {
	case observe.NoIdentity:
		return "of callers without identity" + at + "; only a service account can be allowed. Give the callers a sidecar."
	case observe.ForeignIdentity:
		return "of callers whose certificate names no service account of this mesh" + at + "."
	case observe.MorePaths:
		return fmt.Sprintf("beyond the %d paths that are kept%s%s%s.", observe.MaxPaths, of, from, at)
	case observe.NoRoom:
		return "without room to keep what was asked" + from + at + "."
	case observe.Unreadable:
		return "with a method or a path that cannot be kept" + from + at + "."
	}
	return string(l.Cause) + from + at + "."
}
