// Package judge compares, case by case, what the policy says with what the
// reference reads, and what Explain tells with both.
//
// It holds no rule of its own and never repairs a disagreement: the first one
// is shrunk and handed back.
package judge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/reference"
	"github.com/wasmesh/wasmesh/tests/differential/world"
)

// TableOf is how the control plane makes a workload's table.
type TableOf func(*mesh.Snapshot, mesh.Workload) *policy.Table

// Compiled is a world as the product and as the reference have it.
type Compiled struct {
	World world.World
	// Encoded are the tables as filters get them, by workload.
	Encoded   map[mesh.Name][]byte
	tables    map[mesh.Name]*policy.Table
	reference *reference.Policy
}

// Compile resolves a world, and sends every table through its encoding.
func Compile(w world.World, tableOf TableOf) (*Compiled, error) {
	snapshot, _ := smi.Snapshot(w.Objects, w.Settings())
	c := &Compiled{
		World: w, Encoded: map[mesh.Name][]byte{}, tables: map[mesh.Name]*policy.Table{}, reference: reference.Read(w.Reference()),
	}
	for _, workload := range snapshot.Workloads {
		encoded := tableOf(snapshot, workload).Encode()
		table, ok := policy.Decode(encoded)
		if !ok {
			return nil, fmt.Errorf("the table of %s cannot be decoded: %x", workload.Name, encoded)
		}
		if again := table.Encode(); !bytes.Equal(again, encoded) {
			return nil, fmt.Errorf("the table of %s encodes in two ways: %x and %x", workload.Name, encoded, again)
		}
		c.Encoded[workload.Name], c.tables[workload.Name] = encoded, table
	}
	return c, nil
}

// Grants are what the reference has read.
func (c *Compiled) Grants() []reference.Grant { return c.reference.Grants }

// Decide is the policy's answer. A workload that could not be used has no table
// and no sidecar.
func (c *Compiled) Decide(r world.Request) policy.Verdict {
	table := c.tables[r.Server]
	if table == nil {
		table = &policy.Table{}
	}
	return table.Decide(r.Policy())
}

// AllowsConnection is the reference's answer for an opaque port.
func (c *Compiled) AllowsConnection(r world.Request) bool {
	to := reference.Account{Namespace: r.Account.Namespace, Name: r.Account.Name}
	return c.tables[r.Server] != nil && c.reference.AllowsConnection(r.Peer, to, int(r.Port))
}

// Case compares all answers to one request. The error says which disagree.
func (c *Compiled) Case(r world.Request, t *Tally) (policy.Verdict, error) {
	verdict := c.Decide(r)
	table := c.tables[r.Server]
	if table == nil {
		return verdict, nil
	}
	t.Cases++
	if err := c.reading(r, t); err != nil {
		return verdict, err
	}
	answer := c.reference.Answer(r.Reference(readings(r.Target)))
	t.count(verdict, answer)
	// Counted only: the policy does not decide about opaque connections yet. Once
	// it does, this is the answer to compare with.
	if c.AllowsConnection(r) {
		t.Connections++
	}
	switch {
	case verdict.Allow != (len(answer.By) > 0), verdict.Allow && !slices.Contains(answer.By, verdict.Rule):
		return verdict, fmt.Errorf("the policy says %+v, the reference that %v allow", verdict, answer)
	case !verdict.Allow && string(verdict.Reason) != answer.Clause.Reason():
		return verdict, fmt.Errorf("the policy denies for %q, the reference for %q", verdict.Reason, answer.Clause)
	}
	return verdict, explained(table.Explain(r.Policy()), verdict)
}

// readings are what the product takes the path for: an input of the reference,
// which has a reading of its own for simple paths only.
func readings(target string) []string {
	path, ok := policy.Normalize(target)
	if !ok {
		return nil
	}
	return []string{path.Literal, path.Stripped}
}

func (c *Compiled) reading(r world.Request, t *Tally) error {
	want, refuse, known := reference.Reading(r.Target)
	if !known {
		return nil
	}
	t.Readings++
	got := readings(r.Target)
	if refuse != (got == nil) || !refuse && (got[0] != want || got[1] != want) {
		return fmt.Errorf("the policy reads the path as %q, the reference as %q (refused: %v)", got, want, refuse)
	}
	return nil
}

// explained holds an explanation against the verdict.
func explained(e policy.Explanation, v policy.Verdict) error {
	if e.Verdict != v {
		return fmt.Errorf("the policy says %+v, and explains %+v", v, e.Verdict)
	}
	order := []policy.Reason{policy.ReasonSource, policy.ReasonPort, policy.ReasonPath, policy.ReasonMethod, policy.ReasonHeader, policy.ReasonNone}
	furthest := -1
	for _, trial := range e.Trials {
		depth := slices.Index(order, trial.Failed)
		if depth < 0 {
			return fmt.Errorf("a trial failed for %q", trial.Failed)
		}
		furthest = max(furthest, depth)
	}
	switch {
	case v.Reason == policy.ReasonReject || v.Reason == policy.ReasonPolicy:
		if len(e.Trials) > 0 {
			return fmt.Errorf("denied for %q, yet tried %+v", v.Reason, e.Trials)
		}
	case furthest < 0:
		return errors.New("an explanation without trials")
	case order[furthest] != v.Reason:
		return fmt.Errorf("the verdict is %+v, the trials are %+v", v, e.Trials)
	}
	return nil
}

// Property compares the answers of two worlds of which one is an edit of the
// other.
func Property(before, after *Compiled, e world.Edit, r world.Request) error {
	small, large := before, after
	if e.Direction == world.Narrower {
		small, large = after, before
	}
	switch {
	case small.Decide(r).Allow && !large.Decide(r).Allow:
		return fmt.Errorf("%s: before %+v, after %+v", e.Title, before.Decide(r), after.Decide(r))
	case small.AllowsConnection(r) && !large.AllowsConnection(r):
		return fmt.Errorf("%s: the reference's opaque connections go the wrong way", e.Title)
	}
	return nil
}
