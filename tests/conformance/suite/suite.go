// Package suite is the 24 assertions of the learn-layer5 SMI conformance suite, its
// application and the policies they need: 7 steps of access, 6 of routes, 11 of
// splits.
//
// It is a port: README.md of the folder above says where it differs and why. What
// the mesh under test is, and when it runs what was applied, a Bed says. It must
// never count an assertion that was not reached as passed, and never skip one.
package suite

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"time"
)

// Assertions is how many there are.
const Assertions = 24

// Namespace is where the applications and the policies are.
const Namespace = "smi-conformance"

// policies has the manifests that steps apply, by the names they use.
//
//go:embed policies/*.yaml
var policies embed.FS

// Policy is the text of one.
func Policy(name string) ([]byte, error) { return policies.ReadFile("policies/" + name) }

// Bed is a mesh with the three applications.
type Bed interface {
	// Reach says by what client and at what URL an application itself answers, past
	// every sidecar.
	Reach(app string) (client *http.Client, url string, err error)
	// Apply makes these policies hold and no others, and returns once they do; at
	// the latest after the five seconds that the suite sleeps.
	Apply(policies ...string) error
	// Knows returns nil where the mesh knows a kind by its names, and a policy of
	// it is in force beside others when applied, and no longer when deleted.
	Knows(k Kind, policy string, others ...string) error
	// Ready returns nil where an application's sidecar has all it needs.
	Ready(app string) error
	// Behind names the applications behind a service, in order.
	Behind(service string) ([]string, error)
}

// Kind is one of SMI's, as its CRD has it.
type Kind struct{ Group, Version, Kind, Plural, Short string }

func targets() Kind {
	return Kind{"access.smi-spec.io", "v1alpha3", "TrafficTarget", "traffictargets", "tt"}
}

func routeGroups() Kind {
	return Kind{"specs.smi-spec.io", "v1alpha4", "HTTPRouteGroup", "httproutegroups", "htr"}
}

func splits() Kind {
	return Kind{"split.smi-spec.io", "v1alpha4", "TrafficSplit", "trafficsplits", "ts"}
}

// Step is one assertion.
type Step struct {
	ID      string
	Asserts string
	run     func(Bed) error
}

// Specification is one of the three that the suite judges apart.
type Specification struct {
	Name  string
	Steps []Step
}

// Play runs the steps in their order up to the first that fails: each builds on
// what those before it have applied.
func (s Specification) Play(ctx context.Context, b Bed, mode string) Result {
	r := s.Unreached(mode)
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		start := time.Now()
		o.Reached, o.Err = true, errors.Join(o.Step.run(b), ctx.Err())
		o.Took = time.Since(start)
		if o.Err != nil {
			break
		}
	}
	return r
}

// Unreached is the result while no step has run.
func (s Specification) Unreached(mode string) Result {
	r := Result{Mode: mode, Name: s.Name}
	for _, st := range s.Steps {
		r.Outcomes = append(r.Outcomes, Outcome{Step: st})
	}
	return r
}

// Judge reports every outcome as the test's own, by its id.
func (r Result) Judge(run func(id string, err error)) {
	for _, o := range r.Outcomes {
		err := o.Err
		if !o.Reached {
			err = errors.New("not reached")
		}
		if err != nil {
			err = errors.Join(errors.New(o.Step.Asserts), err)
		}
		run(o.Step.ID, err)
	}
}
