package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCapabilityCountsAsTheSuiteDoes(t *testing.T) {
	for _, c := range []struct {
		passed, steps int
		want          capability
	}{
		{7, 7, full}, {6, 7, half}, {3, 7, half}, {2, 7, none}, {0, 7, none},
		{11, 11, full}, {5, 11, half}, {4, 11, none},
		{6, 6, full}, {3, 6, half}, {2, 6, none}, {0, 0, none},
	} {
		r := result{outcomes: make([]outcome, c.steps)}
		for i := range c.passed {
			r.outcomes[i].reached = true
		}
		if c.passed < c.steps {
			r.outcomes[c.passed] = outcome{reached: true, err: errors.New("it failed")}
		}
		if got := r.capability(); got != c.want || r.passed() != c.passed {
			t.Errorf("%d of %d are %s, want %s; %d counted", c.passed, c.steps, got, c.want, r.passed())
		}
	}
}

// A step that nobody reached must not look like one that passed.
func TestStepsAfterAFailureAreNotReached(t *testing.T) {
	asked := ""
	does := func(name string, err error) step {
		return step{id: name, run: func(*bed) error { asked += name; return err }}
	}
	s := specification{name: "Example", steps: []step{does("a", nil), does("b", errors.New("no")), does("c", nil)}}
	r := s.play(t.Context(), new(bed), "strict")
	var text strings.Builder
	report(&text, []result{r})
	if asked != "ab" || r.passed() != 1 || r.capability() != half {
		t.Errorf("%q ran, %d passed, %s", asked, r.passed(), r.capability())
	}
	for _, want := range []string{title, "a       pass", "b       FAIL", "c       not reached", "1/3", "HALF"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
}

func TestStepsAreThoseOfTheSuite(t *testing.T) {
	for prefix, want := range map[string]struct {
		specification
		steps int
	}{"TA": {trafficAccess(), 7}, "TSC": {trafficSpec(), 6}, "TS": {trafficSplit(), 11}} {
		if len(want.specification.steps) != want.steps {
			t.Errorf("%s has %d steps, want %d", want.name, len(want.specification.steps), want.steps)
		}
		for i, s := range want.specification.steps {
			if id := fmt.Sprintf("%s-%02d", prefix, i+1); s.id != id {
				t.Errorf("%s is where %s should be", s.id, id)
			}
		}
	}
}
