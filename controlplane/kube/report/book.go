package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	// settle is how long a problem must be there before it is told: objects that
	// belong together arrive one after the other.
	settle = time.Second
	// apart is the least time between two tellings of one note.
	apart = 10 * time.Second
	// again is when an open problem is told once more; the API forgets events
	// after an hour.
	again = 20 * time.Minute
	// Burst and Rate bound all writing: so many at once, so many a second after.
	Burst = 100
	Rate  = 10
)

// Event is what to write on an object that has no status.
type Event struct {
	Note Note
	// Name of the event itself.
	Name string
	// Solved: what was told before is so no more.
	Solved bool
	// Count is how often it was told, this time included.
	Count       int32
	First, Last time.Time
}

// Book remembers what was told. The zero value has told nothing. It belongs to
// one goroutine.
type Book struct {
	told   map[Note]*telling
	budget float64
	at     time.Time
}

// telling is what became of one note.
type telling struct {
	seen, first, last time.Time
	count             int32
	solved            bool
	// after is before when nothing is tried, because it failed.
	after time.Time
}

// Due returns the events to write now, so that what is told is these notes. Who
// wrote one says so by Done; one of which nothing is said comes again at once, one
// that Failed after a while.
func (b *Book) Due(now time.Time, notes []Note) []Event {
	if b.told == nil {
		b.told = map[Note]*telling{}
	}
	var out []Event
	open := map[Note]bool{}
	for _, n := range notes {
		open[n] = true
		t := b.told[n]
		if t == nil {
			t = &telling{seen: now}
			b.told[n] = t
		}
		fresh := t.count == 0 || t.solved || now.Sub(t.last) >= again
		if fresh && !now.Before(t.after) && now.Sub(t.seen) >= settle && (t.count == 0 || now.Sub(t.last) >= apart) {
			out = append(out, event(n, t, now, false))
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(b.told), compare) {
		switch t := b.told[n]; {
		case open[n] || now.Before(t.after):
		case t.count == 0 || t.solved && now.Sub(t.last) >= apart:
			delete(b.told, n)
		case !t.solved && now.Sub(t.last) >= apart:
			out = append(out, event(n, t, now, true))
		}
	}
	slices.SortStableFunc(out, func(a, b Event) int {
		return cmp.Compare(gravity(a.Note.Effect), gravity(b.Note.Effect))
	})
	return out[:b.Spend(now, len(out))]
}

func event(n Note, t *telling, now time.Time, solved bool) Event {
	e := Event{Note: n, Name: eventName(n), Solved: solved, Count: t.count + 1, First: t.first, Last: now}
	if t.count == 0 {
		e.First = now
	}
	return e
}

// Done notes that an event was written.
func (b *Book) Done(e Event) {
	if t := b.told[e.Note]; t != nil {
		t.first, t.last, t.count, t.solved = e.First, e.Last, e.Count, e.Solved
		t.seen = e.Last
	}
}

// Failed notes that an event could not be written, and may not be soon: others go
// first.
func (b *Book) Failed(e Event) {
	if t := b.told[e.Note]; t != nil {
		t.after = e.Last.Add(apart)
	}
}

// Spend returns how many of so many writings the budget has room for, and takes
// them out of it.
func (b *Book) Spend(now time.Time, wanted int) int {
	if b.at.IsZero() {
		b.budget, b.at = Burst, now
	}
	b.budget = math.Min(Burst, b.budget+Rate*now.Sub(b.at).Seconds())
	b.at = now
	n := min(wanted, int(b.budget))
	b.budget -= float64(n)
	return n
}
