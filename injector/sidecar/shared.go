package sidecar

import (
	"context"
	"sync"
	"time"
)

// freshFor is how long an answer is given again: no kubelet asks that often, and
// nobody else can make the application work harder than ten times a second for
// each of its probes.
const freshFor = 100 * time.Millisecond

// shared runs each question once at a time, however many ask it. The number of
// different questions is for the caller to bound.
type shared struct {
	mu      sync.Mutex
	answers map[string]*answer
}

// answer is one run of a question. What is below done is set when that is closed.
type answer struct {
	done  chan struct{}
	ended time.Time
	code  int
	err   error
}

// ask returns the answer to a question: of a run that is on or has just ended,
// otherwise of a new one. do does not end with ctx, as others may wait for it. It
// is false if ctx ended before.
func (s *shared) ask(ctx context.Context, question string, do func() (code int, err error)) (code int, err error, ok bool) {
	a := s.join(question, do)
	select {
	case <-a.done:
		return a.code, a.err, true
	case <-ctx.Done():
		return 0, nil, false
	}
}

func (s *shared) join(question string, do func() (int, error)) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.answers[question]; a != nil && a.fresh() {
		return a
	}
	a := &answer{done: make(chan struct{})}
	if s.answers == nil {
		s.answers = map[string]*answer{}
	}
	s.answers[question] = a
	go func() {
		a.code, a.err = do()
		a.ended = time.Now()
		close(a.done)
	}()
	return a
}

func (a *answer) fresh() bool {
	select {
	case <-a.done:
		return time.Since(a.ended) < freshFor
	default:
		return true
	}
}
