package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

const (
	// probeRate resolves the moment of a change to a few milliseconds: each of a
	// buyer's two requests is made half as often.
	probeRate = 200
	// probeTime gives some hundred answers of each client.
	probeTime = 800 * time.Millisecond
	// leastAnswers is how many of them there must be for a line to mean anything.
	leastAnswers = 50
	// effectLimit is how long a change may take to have an effect. The control
	// plane waits for the folder to settle first.
	effectLimit = 5 * time.Second
)

// withoutPolicy is line 1: nothing is granted, so nobody gets through.
func (c *check) withoutPolicy(ctx context.Context) error {
	// The clients have been at it since the start: their first answers count too.
	delta, mismatch, err := c.load(ctx, probeRate, probeRate, probeTime)
	if err != nil {
		return err
	}
	total, mismatchOfAll, err := c.settled(ctx, ledger{})
	if err != nil {
		return err
	}
	denials := delta.sum(entry{counted: denialsBy})
	c.line("1", "no policy: buyer and thief get 403",
		errors.Join(mismatch, mismatchOfAll, delta.only(demo.Buyer, http.StatusForbidden, leastAnswers), delta.only(demo.Thief, http.StatusForbidden, leastAnswers),
			total.nothingSeen()),
		"buyer %s, thief %s; %d denials counted by sidecars", delta.answers(demo.Buyer), delta.answers(demo.Thief), denials)
	return nil
}

// nothingSeen returns an error if any store answered anything itself.
func (l ledger) nothingSeen() error {
	for _, store := range stores() {
		if n := l.sum(entry{counted: byApplication, to: store}); n > 0 {
			return fmt.Errorf("%s saw %d requests; none should have reached it", store, n)
		}
	}
	return nil
}

// policyArrives is line 2: the buyer gets in, the thief does not.
func (c *check) policyArrives(ctx context.Context) error {
	took, mismatch, err := c.turn(ctx, http.StatusOK, c.files.writePolicy)
	if err != nil {
		return err
	}
	delta, mismatchAfter, err := c.load(ctx, probeRate, probeRate, probeTime)
	if err != nil {
		return err
	}
	c.line("2", "policy written: buyer gets 200, thief still 403",
		errors.Join(mismatch, mismatchAfter, delta.only(demo.Buyer, http.StatusOK, leastAnswers), delta.only(demo.Thief, http.StatusForbidden, leastAnswers)),
		"%d ms to the first 200; then buyer %s, thief %s", took.Milliseconds(), delta.answers(demo.Buyer), delta.answers(demo.Thief))
	return nil
}

// policyLeaves is line 5: what was granted is refused again.
func (c *check) policyLeaves(ctx context.Context) error {
	took, mismatch, err := c.turn(ctx, http.StatusForbidden, c.files.removePolicy)
	if err != nil {
		return err
	}
	delta, mismatchAfter, err := c.load(ctx, probeRate, probeRate, probeTime)
	if err != nil {
		return err
	}
	c.line("5", "policy removed: buyer and thief get 403 again",
		errors.Join(mismatch, mismatchAfter, delta.only(demo.Buyer, http.StatusForbidden, leastAnswers), delta.only(demo.Thief, http.StatusForbidden, leastAnswers)),
		"%d ms to the first 403; then buyer %s, thief %s", took.Milliseconds(), delta.answers(demo.Buyer), delta.answers(demo.Thief))
	return nil
}

// turn makes a change under load and returns how long after it the buyer got
// the first answer with that code. It returns when every sidecar runs the new
// policy and the counts of the time in between agree.
func (c *check) turn(ctx context.Context, code int, change func() (time.Time, error)) (took time.Duration, mismatch, err error) {
	before, err := read(ctx, c.mesh)
	if err != nil {
		return 0, nil, err
	}
	if err := c.rates(ctx, probeRate, probeRate); err != nil {
		return 0, nil, err
	}
	// Some answers of before, so that there is something to turn from.
	if err := sleep(ctx, 100*time.Millisecond); err != nil {
		return 0, nil, err
	}
	at, err := change()
	if err != nil {
		return 0, nil, err
	}
	err = c.mesh.Await(effectLimit, fmt.Sprintf("the buyer's first %d", code), func(ctx context.Context) error {
		r, err := c.mesh.Apps[demo.Buyer].Report(ctx)
		if err != nil {
			return err
		}
		for _, t := range r.Turns {
			if t.Code == code && t.At.After(at) {
				took = t.At.Sub(at)
				return nil
			}
		}
		return fmt.Errorf("none since %s", at.Format(time.TimeOnly))
	})
	if err != nil {
		return 0, nil, err
	}
	if err := c.mesh.AwaitPolicy(effectLimit); err != nil {
		return 0, nil, err
	}
	_, mismatch, err = c.settled(ctx, before)
	return took, mismatch, err
}
