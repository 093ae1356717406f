// Package door bounds what strangers cost: connections that have proved nothing
// yet, and the lines that are logged about them.
//
// It never judges who somebody is, and never closes a connection that has left
// the room.
package door

import (
	"container/list"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Room holds connections until they have proved something. When it is full, the
// one that has waited longest is closed: an honest one needs milliseconds, so
// that a flood ends the flood's own, and nobody is kept out.
type Room struct {
	most    int
	mu      sync.Mutex
	waiting list.List // of io.Closer, the oldest first
}

// NewRoom holds at most so many.
func NewRoom(most int) *Room { return &Room{most: most} }

// Enter adds a connection. leave takes it out again, and may be called often.
func (r *Room) Enter(c io.Closer) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting.Len() >= r.most {
		oldest := r.waiting.Front()
		_ = r.waiting.Remove(oldest).(io.Closer).Close() // whoever reads from it hears of it
	}
	place := r.waiting.PushBack(c)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting.Remove(place) // does nothing for a place that is gone
	}
}

// Waiting is how many are in the room.
func (r *Room) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.Len()
}

// Teller logs what strangers cause: some lines at once, then one in each
// interval, which says how many were left out. It is ready as it is.
type Teller struct {
	mu    sync.Mutex
	begin time.Time // of the interval
	told  int       // in this interval
	left  int       // out, since the last line
}

const (
	// linesAtOnce are told in one interval; then one in each.
	linesAtOnce  = 10
	tellInterval = 10 * time.Second
)

// Warn logs a line unless there were too many of late.
func (t *Teller) Warn(log *slog.Logger, now time.Time, what string, about ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.begin) >= tellInterval {
		t.begin, t.told = now, 0
	}
	if t.told >= linesAtOnce {
		t.left++
		return
	}
	t.told++
	if t.left > 0 {
		about = append(about, "left out", t.left)
		t.left, t.told = 0, linesAtOnce // a flood gets one line in each interval
	}
	log.Warn(what, about...)
}
