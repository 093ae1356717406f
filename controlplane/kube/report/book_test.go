package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func note(name string, e mesh.Effect) Note {
	return Note{Object: mesh.Object{Kind: "TrafficTarget", Name: mesh.Name{Namespace: "shop", Name: name}}, Effect: e, Text: "cause"}
}

// told applies what is due and says it in short.
func told(b *Book, now time.Time, notes ...Note) string {
	var out []string
	for _, e := range b.Due(now, notes) {
		b.Done(e)
		what := "tell"
		if e.Solved {
			what = "solve"
		}
		out = append(out, fmt.Sprintf("%s %s %d", what, e.Note.Object.Name.Name, e.Count))
	}
	return strings.Join(out, ", ")
}

func TestBook(t *testing.T) {
	a := note("a", mesh.Inert)
	for name, steps := range map[string][]struct {
		at    float64
		notes []Note
		want  string
	}{
		"told once it lasts, and once": {{0, []Note{a}, ""}, {0.5, []Note{a}, ""}, {1, []Note{a}, "tell a 1"}, {2, []Note{a}, ""}, {60, []Note{a}, ""}},
		"one that goes soon":           {{0, []Note{a}, ""}, {0.9, nil, ""}, {60, nil, ""}},
		"solved":                       {{0, []Note{a}, ""}, {1, []Note{a}, "tell a 1"}, {5, nil, ""}, {11, nil, "solve a 2"}, {12, nil, ""}},
		"back before it was solved":    {{0, []Note{a}, ""}, {1, []Note{a}, "tell a 1"}, {5, nil, ""}, {6, []Note{a}, ""}, {60, []Note{a}, ""}},
		"back after it was solved": {{0, []Note{a}, ""}, {1, []Note{a}, "tell a 1"}, {11, nil, "solve a 2"}, {12, []Note{a}, ""},
			{21, []Note{a}, "tell a 3"}, {22, []Note{a}, ""}},
		"told again before the API forgets": {{0, []Note{a}, ""}, {1, []Note{a}, "tell a 1"}, {1200, []Note{a}, ""}, {1201, []Note{a}, "tell a 2"}},
		"worst first": {{0, []Note{a, note("z", mesh.Broken), note("b", mesh.Refused)}, ""},
			{1, []Note{a, note("z", mesh.Broken), note("b", mesh.Refused)}, "tell z 1, tell b 1, tell a 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b Book
			for _, s := range steps {
				if got := told(&b, at(s.at), s.notes...); got != s.want {
					t.Fatalf("after %v s: %q, want %q", s.at, got, s.want)
				}
			}
		})
	}
}

// What could not be written is due again.
func TestBookTriesAgain(t *testing.T) {
	var b Book
	n := note("a", mesh.Broken)
	b.Due(at(0), []Note{n})
	if first := b.Due(at(1), []Note{n}); len(first) != 1 {
		t.Fatalf("%d events are due", len(first))
	}
	again := b.Due(at(1.5), []Note{n})
	if len(again) != 1 || again[0].Count != 1 {
		t.Fatalf("one that was not written is due as %+v", again)
	}
	b.Failed(again[0])
	if soon := b.Due(at(11), []Note{n}); len(soon) != 0 {
		t.Errorf("one that failed is due again at once: %+v", soon)
	}
	if later := b.Due(at(12), []Note{n}); len(later) != 1 {
		t.Error("one that failed is never due again")
	}
}

// However many problems come and go, what is written stays inside the budget, and
// what is remembered ends with the problems.
func TestBookIsBounded(t *testing.T) {
	var b Book
	written := 0
	for tick := range 600 { // five minutes, twice a second
		var notes []Note
		for i := range 1000 {
			if (tick/30+i)%2 == 0 {
				notes = append(notes, note(fmt.Sprint(i), mesh.Inert))
			}
		}
		for _, e := range b.Due(at(float64(tick)/2), notes) {
			b.Done(e)
			written++
		}
	}
	if limit := Burst + 300*Rate; written > limit || written < limit*9/10 {
		t.Errorf("%d events were written in 300 s, the budget is %d", written, limit)
	}
	for tick := range 1000 {
		now := at(300 + float64(tick)/2)
		for _, e := range b.Due(now, nil) {
			b.Done(e)
		}
	}
	if len(b.told) != 0 {
		t.Errorf("%d notes are remembered for ever", len(b.told))
	}
}

func TestNotes(t *testing.T) {
	o := mesh.Object{Kind: "TrafficTarget", Name: mesh.Name{Namespace: "shop", Name: "buyers"}}
	problems := []mesh.Problem{
		{Effect: mesh.Inert, Where: "API server", Cause: "of no object."},
		{Object: o, Effect: mesh.Inert, Field: "spec.rules[0].name", Cause: "it is not there.", Try: "Make it.", Rule: 21, Where: "x.yaml:3"},
		{Object: o, Effect: mesh.Broken, Cause: "it is broken."},
		{Object: o, Effect: mesh.Broken, Cause: "it is broken."},
	}
	notes := Notes(problems)
	if len(notes) != 2 || notes[0].Effect != mesh.Broken || notes[1].Text != "spec.rules[0].name: it is not there. Make it. (smi-rules 21)" {
		t.Fatalf("notes are %+v", notes)
	}
	for i := range 100 {
		problems = append(problems, mesh.Problem{Object: o, Effect: mesh.Inert, Cause: fmt.Sprintf("%03d %s", i, strings.Repeat("é", 2000))})
	}
	notes = Notes(problems)
	if last := notes[len(notes)-1]; len(notes) != maxPerObject || last.Text != "There are 95 more problems; `wasmesh status` lists them." {
		t.Errorf("%d notes, the last says %q", len(notes), last.Text)
	}
	names := map[string]bool{}
	for _, n := range notes {
		if len(n.Text) > maxText {
			t.Errorf("a note has %d bytes", len(n.Text))
		}
		names[eventName(n)] = true
		n.UID = "another"
		names[eventName(n)] = true
	}
	if len(names) != 2*len(notes) {
		t.Errorf("%d names for %d events", len(names), 2*len(notes))
	}
}
