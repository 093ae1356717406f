package suite

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
		r := Result{Outcomes: make([]Outcome, c.steps)}
		for i := range c.passed {
			r.Outcomes[i].Reached = true
		}
		if c.passed < c.steps {
			r.Outcomes[c.passed] = Outcome{Reached: true, Err: errors.New("it failed")}
		}
		if got := r.capability(); got != c.want || r.passed() != c.passed {
			t.Errorf("%d of %d are %s, want %s; %d counted", c.passed, c.steps, got, c.want, r.passed())
		}
	}
}

// A step that nobody reached must not look like one that passed.
func TestStepsAfterAFailureAreNotReached(t *testing.T) {
	asked := ""
	does := func(name string, err error) Step {
		return Step{ID: name, run: func(Bed) error { asked += name; return err }}
	}
	s := Specification{Name: "Example", Steps: []Step{does("a", nil), does("b", errors.New("no")), does("c", nil)}}
	r := s.Play(t.Context(), nil, "strict")
	var text strings.Builder
	Report(&text, []Result{r}, "a note")
	if asked != "ab" || r.passed() != 1 || r.capability() != half {
		t.Errorf("%q ran, %d passed, %s", asked, r.passed(), r.capability())
	}
	for _, want := range []string{title, "a       pass", "b       FAIL", "c       not reached", "1/3", "HALF", "a note"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, text.String())
		}
	}
}

func TestStepsAreThoseOfTheSuite(t *testing.T) {
	for prefix, want := range map[string]struct {
		Specification
		steps int
	}{"TA": {TrafficAccess(), 7}, "TSC": {TrafficSpec(), 6}, "TS": {TrafficSplit(), 11}} {
		if len(want.Steps) != want.steps {
			t.Errorf("%s has %d steps, want %d", want.Name, len(want.Steps), want.steps)
		}
		for i, s := range want.Steps {
			if id := fmt.Sprintf("%s-%02d", prefix, i+1); s.ID != id {
				t.Errorf("%s is where %s should be", s.ID, id)
			}
		}
	}
}
