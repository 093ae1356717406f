package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxFlying bounds the calls that have no answer yet; what is due beyond that is
// held back, and counted so.
const maxFlying = 32

// load makes the calls of a plan, one after the other and over again, so many
// per second.
type load struct {
	caller *caller
	plan   []call
	ticker *time.Ticker

	mu     sync.Mutex
	paused bool
}

func newLoad(c *caller, plan []call, rate int) *load {
	l := &load{caller: c, plan: plan, ticker: time.NewTicker(time.Hour)}
	l.setRate(rate)
	return l
}

// setRate changes how many calls are made per second. When it has returned, no
// call is begun at the old rate any more; those that fly still get their answers.
func (l *load) setRate(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused = rate <= 0; !l.paused {
		l.ticker.Reset(time.Second / time.Duration(rate))
	}
}

// run makes calls until ctx ends.
func (l *load) run(ctx context.Context) error {
	defer l.ticker.Stop()
	next := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.ticker.C:
			if l.begin() {
				go l.caller.do(ctx, l.plan[next%len(l.plan)])
				next++
			}
		}
	}
}

// begin reports whether a call may be made now, and counts it as flying.
func (l *load) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paused {
		return false
	}
	if l.caller.tally.Flying() >= maxFlying {
		l.caller.tally.HoldBack()
		return false
	}
	l.caller.tally.Begin()
	return true
}

// buyerPlan asks for what a buyer may have.
func buyerPlan() []call {
	return []call{
		{method: http.MethodGet, path: "/books-bought"},
		{method: http.MethodGet, path: "/buy-a-book"},
	}
}

// thiefPlan asks for the same, and pretends to be somebody else, or to ask for
// something else.
func thiefPlan() []call {
	forged := func(name, header, value string) call {
		return call{name: name, method: http.MethodGet, path: "/buy-a-book",
			header: http.Header{http.CanonicalHeaderKey(header): {value}}}
	}
	buyer := "spiffe://wasmesh.local/ns/bookbuyer/sa/bookbuyer"
	return []call{
		{method: http.MethodGet, path: "/books-bought"},
		{method: http.MethodGet, path: "/buy-a-book"},
		forged("a forged certificate header", "X-Forwarded-Client-Cert", "By="+buyer+";URI="+buyer),
		forged("a forged identity header", "X-Spiffe-Id", buyer),
		forged("a forged original path", "X-Envoy-Original-Path", "/books-bought"),
		forged("a method override", "X-Http-Method-Override", http.MethodGet),
		{name: "a path in disguise", method: http.MethodGet, path: "/books-bought/%2e%2e/buy-a-book"},
		{name: "a very long header", method: http.MethodGet, path: "/buy-a-book",
			header: http.Header{"X-Padding": {strings.Repeat("x", 20<<10)}}},
	}
}
