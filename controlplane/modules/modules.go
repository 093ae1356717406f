// Package modules decides which module each part of the mesh runs: what is to be
// inspected, what is good, what serves until then, and when the new one takes
// over.
//
// It is a value and pure steps: the same book and the same wishes give the same
// work. It never reads, starts, keeps or serves a module, and never gives up one
// that is good for one that nobody has found good.
package modules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// Lead is how long sidecars are told of a new module before Envoy is told to
	// load it: time to fetch it. Whoever is later is offered it again.
	Lead = time.Second
	// Again is after how long what the environment stood in the way of is tried
	// once more: a disk that was full tells nobody when it has room again.
	Again = 5 * time.Second
	// remembered are the verdicts kept of modules that nobody wants any more: to
	// go back to one is then at once.
	remembered = 32
)

// Use is a module with the configuration that belongs to it. They are judged and
// served together.
type Use struct {
	// Digest is the sha256 of the module, in hexadecimal.
	Digest string `json:"digest"`
	// Configuration is empty for a module that gets another at each proxy.
	Configuration []byte `json:"configuration,omitempty"`
}

// ID identifies a use by its content.
func (u Use) ID() string {
	if len(u.Configuration) == 0 {
		return u.Digest
	}
	sum := sha256.Sum256(u.Configuration)
	return u.Digest + "+" + hex.EncodeToString(sum[:])
}

// Equal reports whether two uses are the same.
func (u Use) Equal(other Use) bool {
	return u.Digest == other.Digest && bytes.Equal(u.Configuration, other.Configuration)
}

// Wanted is what an object asks for now.
type Wanted struct {
	// Object wants it; its text names it in a Book.
	Object mesh.Object
	// Where is its file, for people.
	Where string
	// Use is what it wants. Without a digest there is nothing to judge: Unread
	// says why.
	Use    Use
	Unread string
	// Starts are the configurations that it must start with.
	Starts [][]byte
	// Without says what becomes of sidecars while there is no good one, Try what
	// to do about a bad one.
	Without, Try string
}

// Name is the name of a wish in a Book.
func (w Wanted) Name() string { return w.Object.String() }

// Verdict is what an inspection found.
type Verdict struct {
	Use Use
	// Cause is what is wrong, empty for a good one.
	Cause string
	// Unable: nobody looked at it. It is tried again.
	Unable bool
	At     time.Time
}

// Book is everything that is known. The zero value knows nothing.
type Book struct {
	// Good is the last good one of each wish, Serving what proxies are told; they
	// differ while sidecars fetch. Since is when Good became what it is.
	Good, Serving map[string]Use
	Since         map[string]time.Time
	// Under are the uses whose inspection goes on, by ID.
	Under map[string]Use
	// Verdicts, the oldest first.
	Verdicts []Verdict
	// Obstacles are what stood in the way of keeping a good module, by wish.
	Obstacles map[string]string
}

// Work is what is to be done outside. Nothing of it has happened in the book but
// that inspections are under way or not.
type Work struct {
	// Inspect are to be started, Stop to be ended.
	Inspect []Wanted
	Stop    []Use
	// Admit are good and to be kept; then Admitted or Obstructed is told.
	Admit []Wanted
}

// Next takes what is wanted now, and says what there is to do.
func (b Book) Next(wanted []Wanted, now time.Time) (Book, Work) {
	b = b.clone()
	var work Work
	names, uses := map[string]bool{}, map[string]bool{}
	for _, w := range wanted {
		names[w.Name()], uses[w.Use.ID()] = true, true
		good, has := b.Good[w.Name()]
		if w.Use.Digest == "" || has && good.Equal(w.Use) {
			delete(b.Obstacles, w.Name())
			continue
		}
		v, known := b.verdict(w.Use)
		switch {
		case known && v.Unable && now.Sub(v.At) >= Again, !known:
			if _, running := b.Under[w.Use.ID()]; !running {
				b.Under[w.Use.ID()] = w.Use
				work.Inspect = append(work.Inspect, w)
			}
		case v.Cause == "":
			work.Admit = append(work.Admit, w)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Under)) {
		if !uses[id] {
			work.Stop = append(work.Stop, b.Under[id])
			delete(b.Under, id)
		}
	}
	gone := func(name string, _ Use) bool { return !names[name] }
	maps.DeleteFunc(b.Good, gone)
	maps.DeleteFunc(b.Serving, gone)
	maps.DeleteFunc(b.Obstacles, func(name, _ string) bool { return !names[name] })
	b.forget(uses)
	return b, work
}

// forget keeps what is known bad only while it is wanted: what made it so, such
// as a machine that was too busy, may be over when it is wanted again.
func (b *Book) forget(wanted map[string]bool) {
	b.Verdicts = slices.DeleteFunc(b.Verdicts, func(v Verdict) bool { return v.Cause != "" && !wanted[v.Use.ID()] })
	if n := len(b.Verdicts) - remembered - len(wanted); n > 0 {
		b.Verdicts = slices.Delete(b.Verdicts, 0, n)
	}
}

// Judged takes the outcome of an inspection. One that nobody waits for any more
// says nothing: it may have been ended.
func (b Book) Judged(v Verdict) Book {
	if _, under := b.Under[v.Use.ID()]; !under {
		return b
	}
	b = b.clone()
	delete(b.Under, v.Use.ID())
	b.Verdicts = slices.DeleteFunc(b.Verdicts, func(old Verdict) bool { return old.Use.Equal(v.Use) })
	b.Verdicts = append(b.Verdicts, v)
	return b
}

// Admitted: the module is kept, and sidecars may fetch it.
func (b Book) Admitted(name string, u Use, now time.Time) Book {
	b = b.clone()
	b.Good[name], b.Since[name] = u, now
	delete(b.Obstacles, name)
	return b
}

// Obstructed: the module could not be kept.
func (b Book) Obstructed(name, cause string) Book {
	b = b.clone()
	b.Obstacles[name] = cause
	return b
}

// Flip makes those good ones serve that sidecars had time to fetch, and the
// first of each wish at once. Later is when to ask again; zero: never.
func (b Book) Flip(now time.Time) (next Book, later time.Duration) {
	b = b.clone()
	for name, good := range b.Good {
		old, serves := b.Serving[name]
		left := Lead - now.Sub(b.Since[name])
		switch {
		case serves && old.Equal(good):
		case !serves || left <= 0:
			b.Serving[name] = good
		case later == 0 || left < later:
			later = left
		}
	}
	if later == 0 || later > Again {
		if len(b.Obstacles) > 0 || slices.ContainsFunc(b.Verdicts, func(v Verdict) bool { return v.Unable }) {
			later = Again
		}
	}
	return b, later
}

// Reachable are the digests that are wanted, good or served, sorted: everything
// else may go.
func (b Book) Reachable(wanted []Wanted) []string {
	found := map[string]bool{}
	for _, uses := range []map[string]Use{b.Good, b.Serving} {
		for _, u := range uses {
			found[u.Digest] = true
		}
	}
	for _, w := range wanted {
		found[w.Use.Digest] = true
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}

func (b Book) verdict(u Use) (Verdict, bool) {
	for _, v := range b.Verdicts {
		if v.Use.Equal(u) {
			return v, true
		}
	}
	return Verdict{}, false
}

func (b Book) clone() Book {
	return Book{
		Good: cloned(b.Good), Serving: cloned(b.Serving), Since: cloned(b.Since), Under: cloned(b.Under),
		Verdicts: slices.Clone(b.Verdicts), Obstacles: cloned(b.Obstacles),
	}
}

func cloned[V any](m map[string]V) map[string]V {
	out := make(map[string]V, len(m))
	maps.Copy(out, m)
	return out
}
