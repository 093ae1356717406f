package outages

import (
	"flag"
	"regexp"
	"testing"
)

// only chooses some of the outages, while one is worked on.
var only = flag.String("only", "", "the outages whose names match")

// TestOutages takes one thing after the other away from one mesh; each has to
// leave it as it was.
func TestOutages(t *testing.T) {
	s := open(t, func(s *site) { slowManifests(t, s.folder) })
	for _, outage := range []struct {
		name string
		test func(*testing.T, *site)
	}{
		{"control plane away", testAway},
		{"caller starts without control plane", testCallerStartsAlone},
		{"refusals", testRefusals},
		{"storm", testStorm},
		{"strangers", testStrangers},
		{"slow proxies", testSlowProxies},
		{"kills", testKills},
	} {
		if !regexp.MustCompile(*only).MatchString(outage.name) {
			continue
		}
		whole := s.t
		ok := t.Run(outage.name, func(t *testing.T) {
			s.t = t
			s.allow(allowedPath)
			s.ready(startTimeout, caller, store)
			s.must(applyTimeout, "the policy to begin with", answers("/extra", 403))
			outage.test(t, s)
		})
		if s.t = whole; !ok {
			t.Fatalf("after %q nothing can be said of the mesh", outage.name)
		}
	}
}
