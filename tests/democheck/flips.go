package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
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
	routesBefore, err := c.routeUpdates(ctx)
	if err != nil {
		return err
	}
	if err := c.rates(ctx, flipBuyer, flipThief); err != nil {
		return err
	}
	begun := time.Now()
	waited, err := c.flipAll(ctx)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	delta, mismatch, err := c.settled(ctx, before)
	if err != nil {
		return err
	}
	routes, err := c.routeUpdates(ctx)
	if err != nil {
		return err
	}
	routes -= routesBefore
	var failure error
	if routes < leastWaited/2 {
		failure = fmt.Errorf("only %d split edits reached the buyer's sidecar: the line proves nothing", routes)
	}
	c.line("6", fmt.Sprintf("%d policy flips, %d split edits under load", policyFlips, splitEdits),
		errors.Join(mismatch, delta.verdictsOnly(), failure),
		"%.1f s, %d flips one by one, %d routes; buyer %s; thief %s; others %d, resets %d", took.Seconds(), waited, routes,
		delta.answers(demo.Buyer), delta.answers(demo.Thief), delta.others(), delta.sum(entry{counted: failures}))
	return nil
}

// flipAll makes all flips, and returns how many of them had their effect before
// the next. When it returns, the last one has.
func (c *check) flipAll(ctx context.Context) (waited int, err error) {
	for i := range policyFlips {
		if err := c.flip(i); err != nil {
			return waited, err
		}
		if time.Since(c.begun) > limit-afterFlips && waited >= leastWaited {
			err = sleep(ctx, hurried)
		} else {
			waited++
			err = c.mesh.AwaitPolicy(effectLimit)
		}
		if err != nil {
			return waited, err
		}
	}
	return waited, c.mesh.AwaitPolicy(effectLimit)
}

// routeUpdates is how often the buyer's Envoy took a new route to the bookstore.
func (c *check) routeUpdates(ctx context.Context) (int, error) {
	buyer := c.mesh.Sidecars[mesh.Name{Namespace: demo.Buyer, Name: demo.Buyer}]
	metrics, err := buyer.Metrics(ctx, `rds\.outbound.bookstore/bookstore.14001\.config_reload$`)
	n := 0
	for _, m := range metrics { // one, whose name has the route's in it
		n += int(m.Value)
	}
	return n, err
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
