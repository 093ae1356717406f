// Package tally is what every application of the bookstore keeps about itself:
// which answers it gave, which answers it got and from whom, and what failed.
//
// It exists to be compared with the counts of the sidecars, so it counts every
// call exactly once and rounds nothing. It must never learn anything from a
// sidecar, and never guess: what it cannot attribute has a name of its own.
package tally

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Proxy stands for whoever answered when it was no application: a sidecar.
const Proxy = "proxy"

// maxTurns bounds the record of turns; the oldest go first.
const maxTurns = 256

// maxKeys bounds what callers can make an application remember; everything past
// it is counted under Other.
const (
	maxKeys = 200
	Other   = "other"
)

// Got is one kind of answer that a client got.
type Got struct {
	// Request is "METHOD /path", or the name of a trick.
	Request string `json:"request"`
	Code    int    `json:"code"`
	// By is the application that answered, by the name it gives itself in the
	// body, or Proxy.
	By string `json:"by"`
}

// Gave is one kind of answer that a server gave.
type Gave struct {
	Request string `json:"request"`
	Code    int    `json:"code"`
}

// Turn is the moment at which a client's answers changed.
type Turn struct {
	At   time.Time `json:"at"`
	Code int       `json:"code"`
	By   string    `json:"by"`
}

// Report is everything counted up to one moment. All slices are sorted.
type Report struct {
	Name string `json:"name"`
	// Rate is in requests per second; 0 for a server or a paused client.
	Rate int `json:"rate"`
	// Flying are calls that were started and have no answer yet.
	Flying   int            `json:"flying"`
	Got      []GotCount     `json:"got"`
	Gave     []GaveCount    `json:"gave"`
	Failures []FailureCount `json:"failures"`
	// Turns are the latest changes of the answer, oldest first.
	Turns []Turn `json:"turns"`
	// HeldBack counts calls that were due but not made, as too many were flying.
	HeldBack int `json:"heldBack"`
}

// GotCount, GaveCount and FailureCount say how often something happened.
type (
	GotCount struct {
		Got
		Count int `json:"count"`
	}
	GaveCount struct {
		Gave
		Count int `json:"count"`
	}
	FailureCount struct {
		Cause string `json:"cause"`
		Count int    `json:"count"`
	}
)

// Tally counts. It is safe for concurrent use.
type Tally struct {
	mu       sync.Mutex
	name     string
	rate     int
	flying   int
	heldBack int
	got      map[Got]int
	gave     map[Gave]int
	failures map[string]int
	turns    []Turn
	last     map[string]int // by request: the code of its latest answer
}

// New returns an empty tally of the application of that name.
func New(name string) *Tally {
	return &Tally{name: name, got: map[Got]int{}, gave: map[Gave]int{}, failures: map[string]int{}, last: map[string]int{}}
}

// Begin notes that a call is under way. It must be followed by one of Get, Fail.
func (t *Tally) Begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying++
}

// Get counts the answer to a call.
func (t *Tally) Get(at time.Time, g Got) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying--
	t.got[g]++
	if t.last[g.Request] != g.Code {
		t.last[g.Request] = g.Code
		t.turns = append(t.turns, Turn{at, g.Code, g.By})
		if len(t.turns) > maxTurns {
			t.turns = slices.Delete(t.turns, 0, len(t.turns)-maxTurns)
		}
	}
}

// Fail counts a call that got no answer.
func (t *Tally) Fail(cause string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying--
	if _, known := t.failures[cause]; !known && len(t.failures) >= maxKeys {
		cause = Other
	}
	t.failures[cause]++
}

// Give counts an answer that this application gave.
func (t *Tally) Give(g Gave) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.gave[g]; !known && len(t.gave) >= maxKeys {
		g.Request = Other
	}
	t.gave[g]++
}

// HoldBack counts a call that was due but not made.
func (t *Tally) HoldBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heldBack++
}

// SetRate notes how many requests per second are made from now on.
func (t *Tally) SetRate(rate int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate
}

// Flying returns how many calls have no answer yet.
func (t *Tally) Flying() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flying
}

// Report returns what was counted until now.
func (t *Tally) Report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Report{Name: t.name, Rate: t.rate, Flying: t.flying, HeldBack: t.heldBack, Turns: slices.Clone(t.turns)}
	for g, n := range t.got {
		r.Got = append(r.Got, GotCount{g, n})
	}
	for g, n := range t.gave {
		r.Gave = append(r.Gave, GaveCount{g, n})
	}
	for cause, n := range t.failures {
		r.Failures = append(r.Failures, FailureCount{cause, n})
	}
	slices.SortFunc(r.Got, func(a, b GotCount) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Code, b.Code), cmp.Compare(a.By, b.By))
	})
	slices.SortFunc(r.Gave, func(a, b GaveCount) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Code, b.Code))
	})
	slices.SortFunc(r.Failures, func(a, b FailureCount) int { return cmp.Compare(a.Cause, b.Cause) })
	return r
}
