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
	policyFlips = 200
	splitEdits  = 100
	flipBuyer   = 200 // requests per second
	flipThief   = 100
	// afterFlips is what the rest of the check needs of the time.
	afterFlips = 12 * time.Second
	// hurried is the time between flips that do not wait for each other.
	hurried = 20 * time.Millisecond
	// leastWaited is how many flips must have had their effect before the next.
	leastWaited = 20
)

// flips is line 6: policies and splits change under load, each as soon as the
// one before has its effect everywhere, and nothing but verdicts comes back. On
// a slow machine the time for that runs out; the rest follows in a hurry.
func (c *check) flips(ctx context.Context) error {
	before, err := read(ctx, c.mesh)
	if err != nil {
		return err
	}
	if err := c.rates(ctx, flipBuyer, flipThief); err != nil {
		return err
	}
	begun, waited := time.Now(), 0
	for i := range policyFlips {
		if err := c.flip(i); err != nil {
			return err
		}
		if time.Since(c.begun) > limit-afterFlips && waited >= leastWaited {
			err = sleep(ctx, hurried)
		} else {
			waited++
			err = c.mesh.AwaitPolicy(effectLimit)
		}
		if err != nil {
			return err
		}
	}
	took := time.Since(begun)
	if err := c.mesh.AwaitPolicy(effectLimit); err != nil {
		return err
	}
	delta, mismatch, err := c.settled(ctx, before)
	if err != nil {
		return err
	}
	c.line("6", fmt.Sprintf("%d policy flips, %d split edits under load", policyFlips, splitEdits),
		errors.Join(mismatch, delta.verdictsOnly()),
		"%.1f s, %d of them one by one; buyer %s; thief %s; others %d, resets %d", took.Seconds(), waited,
		delta.answers(demo.Buyer), delta.answers(demo.Thief), delta.others(), delta.sum(entry{counted: failures}))
	return nil
}

// flip gives the policy back or takes it away; every second time it edits the
// split too.
func (c *check) flip(i int) error {
	change := c.files.writePolicy
	if i%2 == 1 {
		change = c.files.removePolicy
	}
	if i%(policyFlips/splitEdits) == 0 {
		one := 50
		if i%4 == 0 {
			one = 90
		}
		if err := c.files.writeSplit(one, 100-one); err != nil {
			return err
		}
	}
	_, err := change()
	return err
}

// others counts the answers to both clients that are neither 200 nor 403.
func (l ledger) others() int {
	n := 0
	for _, client := range clients() {
		n += l.sum(entry{counted: byClient, from: client})
		for _, code := range []int{http.StatusOK, http.StatusForbidden} {
			n -= l.sum(entry{counted: byClient, from: client, code: code})
		}
	}
	return n
}

// verdictsOnly returns an error if a client got an answer that is neither 200
// nor 403, or too few of either for the line to mean anything.
func (l ledger) verdictsOnly() error {
	var all []error
	for _, client := range clients() {
		count := func(code int) int { return l.sum(entry{counted: byClient, from: client, code: code}) }
		if count(0) != count(http.StatusOK)+count(http.StatusForbidden) {
			all = append(all, fmt.Errorf("%s got %s; only 200 and 403 are verdicts", client, l.answers(client)))
		}
		if client == demo.Buyer && (count(http.StatusOK) < leastAnswers || count(http.StatusForbidden) < leastAnswers) {
			all = append(all, fmt.Errorf("%s got %s: the flips did not show", client, l.answers(client)))
		}
	}
	return errors.Join(all...)
}
