package judge

import (
	"fmt"

	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/world"
)

// perWorld is how many requests a world is asked: making one costs as much as
// a hundred answers.
const perWorld = 96

// Finding is a disagreement, shrunk.
type Finding struct {
	Seed, Index uint64
	Cause       error
	World       world.World
	Request     world.Request
}

// Error writes everything that is needed to see it again.
func (f *Finding) Error() string {
	return fmt.Sprintf("seed %d, world %d: %v\n%s\n%s", f.Seed, f.Index, f.Cause, f.Request, f.World.YAML())
}

// Answered is one world with its requests and the policy's verdicts, for
// further oracles.
type Answered struct {
	*Compiled
	Index    uint64
	Requests []world.Request
	Verdicts []policy.Verdict
}

// World judges the world of one index: every request by the policy, its
// explanation and the reference, and before and after one edit.
func World(seed, index uint64, tableOf TableOf, t *Tally) (*Answered, error) {
	w, requests := world.Make(seed, index, perWorld)
	t.Worlds++
	compiled, err := Compile(w, tableOf)
	if err != nil {
		return nil, &Finding{Seed: seed, Index: index, Cause: err, World: w}
	}
	a := &Answered{Compiled: compiled, Index: index, Requests: requests}
	for _, r := range requests {
		verdict, err := compiled.Case(r, t)
		if err != nil {
			return nil, Shrunk(seed, index, w, r, err, func(w world.World, r world.Request) error {
				c, err := Compile(w, tableOf)
				if err == nil {
					_, err = c.Case(r, NewTally())
				}
				return err
			})
		}
		a.Verdicts = append(a.Verdicts, verdict)
	}
	return a, a.edited(seed, tableOf, t)
}

// edited asks everything again in an edited world.
func (a *Answered) edited(seed uint64, tableOf TableOf, t *Tally) error {
	edit := a.World.Edit(seed, a.Index)
	changed, ok := edit.Apply(a.World)
	if !ok {
		return nil
	}
	after, err := Compile(changed, tableOf)
	if err != nil {
		return &Finding{Seed: seed, Index: a.Index, Cause: err, World: changed}
	}
	for i, r := range a.Requests {
		t.Properties++
		if after.Decide(r).Allow != a.Verdicts[i].Allow {
			t.Moved++
		}
		if err := Property(a.Compiled, after, edit, r); err != nil {
			return Shrunk(seed, a.Index, a.World, r, err, func(w world.World, r world.Request) error {
				return holds(w, r, edit, tableOf)
			})
		}
	}
	return nil
}

// holds checks an edit's property in another world.
func holds(w world.World, r world.Request, edit world.Edit, tableOf TableOf) error {
	changed, ok := edit.Apply(w)
	if !ok {
		return nil
	}
	before, err := Compile(w, tableOf)
	if err != nil {
		return err
	}
	after, err := Compile(changed, tableOf)
	if err != nil {
		return err
	}
	return Property(before, after, edit, r)
}

// Shrunk makes a finding as small as check goes on to find it wrong.
func Shrunk(seed, index uint64, w world.World, r world.Request, cause error, check func(world.World, world.Request) error) *Finding {
	f := &Finding{Seed: seed, Index: index, Cause: cause}
	f.World, f.Request = world.Shrink(w, r, func(w world.World, r world.Request) bool { return check(w, r) != nil })
	if err := check(f.World, f.Request); err != nil {
		f.Cause = err
	}
	return f
}
