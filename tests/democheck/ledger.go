package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// ledger is every count of one moment: keys say who counted what.
type ledger map[entry]int

// entry is one count. Empty fields say nothing.
type entry struct {
	// counted is who counted: client, application or filter.
	counted string
	// from and to are workloads by their own names; to is empty where a client
	// cannot know it.
	from, to string
	code     int
	reason   string
}

// since returns what was counted after before.
func (l ledger) since(before ledger) ledger {
	out := ledger{}
	for e, n := range l {
		if n -= before[e]; n != 0 {
			out[e] = n
		}
	}
	return out
}

// sum adds the counts whose entries agree with all fields that are not empty.
func (l ledger) sum(like entry) int {
	n := 0
	for e, count := range l {
		if e.counted == like.counted &&
			(like.from == "" || e.from == like.from) && (like.to == "" || e.to == like.to) &&
			(like.code == 0 || e.code == like.code) && (like.reason == "" || e.reason == like.reason) {
			n += count
		}
	}
	return n
}

// The counters. A denial is counted by the filter twice: as a finished request
// and, with its reason, as a denial.
const (
	byClient      = "client"
	byApplication = "application"
	byFilter      = "filter"
	denialsBy     = "filter's denials"
	failures      = "failure"
)

// read asks every application and every sidecar.
func read(ctx context.Context, m *demo.Mesh) (ledger, error) {
	out := ledger{}
	for name, app := range m.Apps {
		r, err := app.Report(ctx)
		if err != nil {
			return nil, err
		}
		out.addReport(name, r)
	}
	for name, sidecar := range m.Sidecars {
		metrics, err := sidecar.Metrics(ctx, "wasmesh[_.]|osm_request_total")
		if err != nil {
			return nil, err
		}
		out.addMetrics(metrics)
		out.addRefusals(name, metrics)
	}
	return out, nil
}

func (l ledger) addReport(name string, r tally.Report) {
	for _, g := range r.Got {
		e := entry{counted: byClient, from: name, code: g.Code}
		if g.By != tally.Proxy {
			e.to = g.By
		}
		l[e] += g.Count
	}
	for _, g := range r.Gave {
		if g.Request == "GET "+briefPath {
			continue
		}
		l[entry{counted: byApplication, to: name, code: g.Code}] += g.Count
	}
	for _, f := range r.Failures {
		l[entry{counted: failures, from: name, reason: f.Cause}] += f.Count
	}
}

func (l ledger) addMetrics(metrics demo.Metrics) {
	for _, s := range metrics {
		e := entry{from: plain(s.Peer("source")), to: plain(s.Peer("destination"))}
		if e.from == briefName {
			continue
		}
		switch s.Name {
		case traffic.Requests:
			e.counted = byFilter
			// The label is a number by construction; anything else shows as code 0.
			_, _ = fmt.Sscan(s.Labels["response_code"], &e.code)
		case traffic.Denials:
			e.counted, e.reason = denialsBy, s.Labels["reason"]
		default:
			continue
		}
		l[e] += int(s.Value)
	}
}

// addRefusals adds what a client's own sidecar refused, before any store's filter
// was asked: an answer and a denial of the mesh like theirs.
func (l ledger) addRefusals(client mesh.Name, metrics demo.Metrics) {
	for _, s := range metrics {
		if reason := s.Labels["reason"]; s.Name == traffic.OwnScope+"_"+traffic.Forbidden && reason != "" {
			l[entry{counted: byFilter, from: client.Name, code: 403}] += int(s.Value)
			l[entry{counted: denialsBy, from: client.Name, reason: reason}] += int(s.Value)
		}
	}
}

// plain drops the namespace: the workloads of the bookstore have names of their
// own.
func plain(workload string) string {
	name, ok := mesh.ParseName(workload)
	if !ok {
		return workload
	}
	return name.Name
}

// stores and clients are who answers and who asks in the bookstore.
func stores() []string  { return []string{demo.StoreOne, demo.StoreTwo} }
func clients() []string { return []string{demo.Buyer, demo.Thief} }

// disagreements compares the three counts of everything that can be counted
// three or two times. It needs a ledger of a time after which nothing flew.
func (l ledger) disagreements() error {
	var all []error
	equal := func(what string, a, b int) {
		if a != b {
			all = append(all, fmt.Errorf("%s: %d and %d", what, a, b))
		}
	}
	for _, client := range clients() {
		for _, code := range l.codes() {
			equal(fmt.Sprintf("answers %d to %s, by the client and by the filters", code, client),
				l.sum(entry{counted: byClient, from: client, code: code}), l.sum(entry{counted: byFilter, from: client, code: code}))
		}
		equal("denials of "+client+", by the client and by the filters",
			l.sum(entry{counted: byClient, from: client, code: 403})+l.sum(entry{counted: byClient, from: client, code: 400}),
			l.sum(entry{counted: denialsBy, from: client}))
		for _, store := range stores() {
			equal(fmt.Sprintf("answers of %s to %s, by the client and by the filter", store, client),
				l.sum(entry{counted: byClient, from: client, to: store}), l.sum(entry{counted: byFilter, from: client, to: store, code: 200}))
		}
	}
	for _, store := range stores() {
		equal("calls of "+store+" to the warehouse, by the caller and by the filter",
			l.sum(entry{counted: byClient, from: store, to: demo.Warehouse}), l.sum(entry{counted: byFilter, from: store, to: demo.Warehouse, code: 200}))
	}
	for _, server := range append(stores(), demo.Warehouse) {
		equal("answers of "+server+", by itself and by its filter",
			l.sum(entry{counted: byApplication, to: server}),
			l.sum(entry{counted: byFilter, to: server})-l.sum(entry{counted: denialsBy, to: server}))
	}
	return errors.Join(all...)
}

// codes lists those that anybody counted, the lowest first.
func (l ledger) codes() []int {
	all := map[int]bool{}
	for e := range l {
		if e.code != 0 {
			all[e.code] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// settleTime is how long a counter may take to show a finished request.
const settleTime = 3 * time.Second

// settled pauses both clients and returns what was counted since before, once
// all counts agree. If they never do, mismatch says which do not.
func (c *check) settled(ctx context.Context, before ledger) (delta ledger, mismatch, err error) {
	for _, client := range clients() {
		if err := c.mesh.Apps[client].Pause(ctx); err != nil {
			return nil, nil, err
		}
	}
	deadline := time.Now().Add(settleTime)
	for {
		now, err := read(ctx, c.mesh)
		if err != nil {
			return nil, nil, err
		}
		delta = now.since(before)
		mismatch = errors.Join(delta.disagreements(), delta.unanswered())
		if mismatch == nil || time.Now().After(deadline) {
			return delta, mismatch, nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// unanswered returns an error if a call had no answer: a reset, a timeout.
func (l ledger) unanswered() error {
	var all []error
	for e, n := range l {
		if e.counted == failures {
			all = append(all, fmt.Errorf("%d calls of %s had no answer: %s", n, e.from, e.reason))
		}
	}
	return errors.Join(all...)
}

// load runs both clients at so many requests per second for a time, and returns
// what was counted.
func (c *check) load(ctx context.Context, buyer, thief int, d time.Duration) (delta ledger, mismatch, err error) {
	before, err := read(ctx, c.mesh)
	if err != nil {
		return nil, nil, err
	}
	if err := c.rates(ctx, buyer, thief); err != nil {
		return nil, nil, err
	}
	if err := sleep(ctx, d); err != nil {
		return nil, nil, err
	}
	return c.settled(ctx, before)
}

func (c *check) rates(ctx context.Context, buyer, thief int) error {
	return errors.Join(c.mesh.Apps[demo.Buyer].SetRate(ctx, buyer), c.mesh.Apps[demo.Thief].SetRate(ctx, thief))
}

// sleep returns early, with the cause, if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// answers says which codes a client got, and how often, the lowest code first.
func (l ledger) answers(client string) string {
	codes := map[int]int{}
	for e, n := range l {
		if e.counted == byClient && e.from == client {
			codes[e.code] += n
		}
	}
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		parts = append(parts, fmt.Sprintf("%d x %d", codes[code], code))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// only returns nil if a client got at least least answers, all with that code.
func (l ledger) only(client string, code, least int) error {
	all, wanted := l.sum(entry{counted: byClient, from: client}), l.sum(entry{counted: byClient, from: client, code: code})
	if all != wanted || wanted < least {
		return fmt.Errorf("%s got %s; expected at least %d answers, all of them %d", client, l.answers(client), least, code)
	}
	return nil
}
