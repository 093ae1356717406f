package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

// tricksAtOnce keeps the line short without flooding anybody.
const tricksAtOnce = 8

// tricks is line 3: whatever the thief sends, and whatever the buyer sends for
// more than it may have, is refused, and no store hears of it.
func (c *check) tricks(ctx context.Context) error {
	for _, one := range []struct {
		client string
		tricks []trick
	}{{demo.Thief, thiefTricks()}, {demo.Buyer, buyerTricks()}} {
		if err := c.tricksOf(ctx, one.client, one.tricks); err != nil {
			return err
		}
	}
	return c.honest(ctx)
}

func (c *check) tricksOf(ctx context.Context, client string, tricks []trick) error {
	to, err := c.outboundOf(client)
	if err != nil {
		return err
	}
	before, err := read(ctx, c.mesh)
	if err != nil {
		return err
	}
	outcomes := attempt(to, tricks)
	delta, mismatch, err := c.settledBeside(ctx, before, client, outcomes)
	if err != nil {
		return err
	}
	failures := []error{mismatch, delta.nothingSeen()}
	byFilter, byOwn := 0, 0
	for i, o := range outcomes {
		if err := o.judge(tricks[i]); err != nil {
			failures = append(failures, err)
		}
		if o.denied() > 0 {
			byFilter++
		} else {
			byOwn++
		}
		if c.verbose {
			fmt.Fprintf(c.out, "        %-10s %-36s %s\n", client, tricks[i].name, o)
		}
	}
	c.line("3", fmt.Sprintf("%d tricks of %s: refused, unseen by the stores", len(tricks), client), errors.Join(failures...),
		"%d denied by the filter, %d refused by %s's own sidecar, %d seen", byFilter, byOwn, client,
		delta.sum(entry{counted: byApplication}))
	return nil
}

// outboundOf returns where a client dials the bookstore.
func (c *check) outboundOf(client string) (netip.AddrPort, error) {
	return demo.Dial(c.mesh.Snapshot, mesh.Name{Namespace: client, Name: client}, demo.Bookstore)
}

// outcome is what came of one trick.
type outcome struct {
	replies []reply
	err     error
}

// attempt tries all tricks, each on a connection of its own.
func attempt(to netip.AddrPort, tricks []trick) []outcome {
	out := make([]outcome, len(tricks))
	places := make(chan struct{}, tricksAtOnce)
	var done sync.WaitGroup
	for i, t := range tricks {
		places <- struct{}{}
		done.Go(func() {
			defer func() { <-places }()
			out[i].replies, out[i].err = send(to, t.raw)
		})
	}
	done.Wait()
	return out
}

// judge returns an error unless the first answer is the one expected and every
// further one, to what was hidden behind it, a refusal too.
func (o outcome) judge(t trick) error {
	if o.err != nil {
		return fmt.Errorf("%s: %w", t.name, o.err)
	}
	for i, r := range o.replies {
		refused := r.code == http.StatusBadRequest || r.code == http.StatusForbidden
		if !refused || i == 0 && r.code != t.want {
			return fmt.Errorf("%s: %s; expected %d", t.name, o, t.want)
		}
	}
	return nil
}

// denied counts the answers that came from a destination's filter.
func (o outcome) denied() int {
	n := 0
	for _, r := range o.replies {
		if r.fromFilter() {
			n++
		}
	}
	return n
}

func (o outcome) String() string {
	if o.err != nil {
		return o.err.Error()
	}
	var text string
	for _, r := range o.replies {
		who := "by its own sidecar"
		switch {
		case r.fromFilter():
			who = "by the filter"
		case r.fromApplication():
			who = "by an application"
		}
		text += fmt.Sprintf("%d %s ", r.code, who)
	}
	return text
}

// settledBeside is settled for requests that this program made itself in the
// place of a client: its own count takes the client's place.
func (c *check) settledBeside(ctx context.Context, before ledger, client string, outcomes []outcome) (ledger, error, error) {
	denied := 0
	for _, o := range outcomes {
		denied += o.denied()
	}
	var delta ledger
	var mismatch error
	err := c.mesh.Await(settleTime, "the filters' counts", func(ctx context.Context) error {
		now, err := read(ctx, c.mesh)
		if err != nil {
			return err
		}
		delta = now.since(before)
		if n := delta.sum(entry{counted: denialsBy, from: client}); n != denied {
			mismatch = fmt.Errorf("%d denials reached %s, but the filters counted %d", denied, client, n)
			return mismatch
		}
		mismatch = nil
		return nil
	})
	if mismatch != nil {
		return delta, mismatch, nil
	}
	return delta, nil, err
}

// honest shows that the way the tricks go leads to the stores: what is granted
// gets through, and is seen exactly once.
func (c *check) honest(ctx context.Context) error {
	to, err := c.outboundOf(demo.Buyer)
	if err != nil {
		return err
	}
	before, err := read(ctx, c.mesh)
	if err != nil {
		return err
	}
	requests := []string{get("/books-bought"), get("//books-bought"), get("/preview/new", "x-early-reader: yes")}
	var failure error
	for _, raw := range requests {
		replies, err := send(to, raw)
		if err != nil || len(replies) != 1 || replies[0].code != http.StatusOK {
			failure = errors.Join(failure, fmt.Errorf("%.40q: %s; expected one 200", raw, outcome{replies, err}))
		}
	}
	after, err := read(ctx, c.mesh)
	if err != nil {
		return err
	}
	seen := after.since(before).sum(entry{counted: byApplication})
	if seen != len(requests) {
		failure = errors.Join(failure, fmt.Errorf("the stores saw %d of %d requests", seen, len(requests)))
	}
	c.line("3", "the same way, what is granted: 200, and seen", failure, "%d requests, %d seen", len(requests), seen)
	return nil
}
