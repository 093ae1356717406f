package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// assertions is how many the suite has: 7 of access, 6 of routes, 11 of splits.
const assertions = 24

// step is one assertion of the suite.
type step struct {
	id      string
	asserts string
	run     func(*bed) error
}

// specification is one of the three that the suite judges apart.
type specification struct {
	name  string
	steps []step
}

// mode is a way to run the mesh, with the specifications judged in it.
type mode struct {
	name           string
	settings       smi.Settings
	specifications []specification
}

// modes are two: the suite has no TrafficTarget in its TrafficSplit steps and
// runs them on a mesh that allows by default, which TrafficAccess would fail on.
// We run them on such a mesh, and with a target on one that denies.
func modes() []mode {
	return []mode{
		{"permissive", smi.Settings{TrustDomain: trustDomain, Mode: policy.Permissive}, []specification{trafficSplit()}},
		{"strict", smi.Settings{TrustDomain: trustDomain}, []specification{trafficAccess(), trafficSpec(), trafficSplit("allow.yaml")}},
	}
}

func TestConformance(t *testing.T) {
	alone(t)
	programs, err := rig.Build(t.Context(), t.TempDir(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) { results = append(results, run(t, programs, m)...) })
	}
	report(os.Stdout, results)
	judged := map[string]bool{}
	for _, r := range results {
		for _, o := range r.outcomes {
			judged[o.step.id] = true
		}
	}
	if len(judged) != assertions {
		t.Errorf("%d of %d assertions were judged", len(judged), assertions)
	}
}

// run plays all specifications of a mode on one mesh.
func run(t *testing.T, programs rig.Programs, m mode) []result {
	var results []result
	b, err := startBed(context.Background(), programs, t.TempDir(), m.settings)
	if err != nil {
		t.Error(err)
		for _, s := range m.specifications {
			results = append(results, s.unreached(m.name))
		}
		return results
	}
	t.Cleanup(func() {
		if text, err := b.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range m.specifications {
		r := s.play(t.Context(), b, m.name)
		for _, o := range r.outcomes {
			t.Run(o.step.id, func(t *testing.T) {
				switch {
				case !o.reached:
					t.Errorf("%s: not reached", o.step.asserts)
				case o.err != nil:
					t.Errorf("%s: %v", o.step.asserts, o.err)
				}
			})
		}
		results = append(results, r)
	}
	return results
}

// play runs the steps in their order up to the first that fails: each builds on
// what those before it have applied.
func (s specification) play(ctx context.Context, b *bed, mode string) result {
	r := s.unreached(mode)
	for i := range r.outcomes {
		o := &r.outcomes[i]
		start := time.Now()
		o.reached, o.err = true, errors.Join(o.step.run(b), ctx.Err())
		o.took = time.Since(start)
		if o.err != nil {
			break
		}
	}
	return r
}

// unreached is the result while no step has run.
func (s specification) unreached(mode string) result {
	r := result{mode: mode, name: s.name}
	for _, st := range s.steps {
		r.outcomes = append(r.outcomes, outcome{step: st})
	}
	return r
}
