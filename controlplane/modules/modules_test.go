package modules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var start = time.Unix(1000, 0)

func want(name, digest string) Wanted {
	return Wanted{
		Object: mesh.Object{Kind: "Module", Name: mesh.Name{Namespace: "wasmesh", Name: name}},
		Use:    Use{Digest: digest}, Unread: "no such file", Without: "all deny.",
	}
}

// run plays the outside: it inspects with judge, and keeps everything.
func run(b Book, now time.Time, judge func(Use) string, wanted ...Wanted) Book {
	for {
		next, work := b.Next(wanted, now)
		for _, w := range work.Inspect {
			next = next.Judged(Verdict{Use: w.Use, Cause: judge(w.Use), At: now})
		}
		for _, w := range work.Admit {
			next = next.Admitted(w.Name(), w.Use, now)
		}
		b = next
		if len(work.Inspect) == 0 && len(work.Admit) == 0 {
			b, _ = b.Flip(now)
			return b
		}
	}
}

func fine(Use) string { return "" }

func bad(u Use) string {
	if strings.HasPrefix(u.Digest, "bad") {
		return "it is bad"
	}
	return ""
}

func serving(b Book, w Wanted) string { return b.Serving[w.Name()].Digest }

func TestTheFirstServesAtOnceTheNextAfterTheLead(t *testing.T) {
	a, b := want("filter", "a"), want("filter", "b")
	book := run(Book{}, start, fine, a)
	if serving(book, a) != "a" {
		t.Fatalf("serves %q", serving(book, a))
	}
	book = run(book, start.Add(time.Hour), fine, b)
	if serving(book, b) != "a" || book.Good[b.Name()].Digest != "b" {
		t.Fatalf("serves %q before sidecars could fetch it", serving(book, b))
	}
	if _, later := book.Flip(start.Add(time.Hour)); later != Lead {
		t.Errorf("to be asked again after %v", later)
	}
	if got := book.Reachable([]Wanted{b}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("reachable are %v", got)
	}
	book, later := book.Flip(start.Add(time.Hour + Lead))
	if serving(book, b) != "b" || later != 0 {
		t.Errorf("serves %q, later %v", serving(book, b), later)
	}
	if got := book.Reachable([]Wanted{b}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("reachable are %v", got)
	}
}

func TestABadOneChangesNothingAndIsInspectedOnce(t *testing.T) {
	a, b := want("filter", "a"), want("filter", "bad")
	book := run(Book{}, start, bad, a)
	book = run(book, start.Add(time.Hour), bad, b)
	if serving(book, b) != "a" {
		t.Fatalf("serves %q", serving(book, b))
	}
	problems := book.Problems([]Wanted{b})
	if len(problems) != 1 || !strings.Contains(problems[0].Cause, "it is bad; the module before it keeps serving.") {
		t.Errorf("told is %v", problems)
	}
	if _, work := book.Next([]Wanted{b}, start.Add(2*time.Hour)); len(work.Inspect) > 0 {
		t.Error("inspected again for nothing")
	}
	if book = run(book, start, bad, a); len(book.Problems([]Wanted{a})) > 0 {
		t.Error("the good one is back, and a problem is told")
	}
	if _, work := book.Next([]Wanted{b}, start); len(work.Inspect) != 1 {
		t.Error("wanted anew, it is not looked at: what made it bad may be over")
	}
}

func TestWithoutAGoodOneItSaysWhatBecomes(t *testing.T) {
	book := run(Book{}, start, bad, want("filter", "bad"))
	problems := book.Problems([]Wanted{want("filter", "bad")})
	if len(problems) != 1 || !strings.Contains(problems[0].Cause, "all deny.") || len(book.Serving) > 0 {
		t.Errorf("told is %v, serving %v", problems, book.Serving)
	}
	if p := book.Problems([]Wanted{want("filter", "")}); len(p) != 1 || !strings.Contains(p[0].Cause, "no such file") {
		t.Errorf("told of a file that is not there: %v", p)
	}
}

func TestGoingBackNeedsNoInspection(t *testing.T) {
	a, b := want("filter", "a"), want("filter", "b")
	book, inspected := Book{}, 0
	count := func(Use) string { inspected++; return "" }
	for n := range 20 {
		book = run(book, start.Add(time.Duration(n)*time.Minute), count, a)
		book = run(book, start.Add(time.Duration(n)*time.Minute+30*time.Second), count, b)
	}
	if inspected != 2 {
		t.Errorf("%d inspections of 2 modules", inspected)
	}
}

func TestWishesStandAlone(t *testing.T) {
	own, user := want("filter", "a"), want("user", "bad")
	book := run(Book{}, start, bad, own, user)
	if serving(book, own) != "a" || serving(book, user) != "" {
		t.Errorf("serving is %v", book.Serving)
	}
	book = run(book, start, bad, want("filter", "bad2"), want("user", "u"))
	if serving(book, own) != "a" || serving(book, user) != "u" {
		t.Errorf("serving is %v", book.Serving)
	}
	if book = run(book, start, bad, own); len(book.Serving) != 1 || len(book.Good) != 1 {
		t.Errorf("a wish that is gone still serves: %v", book.Serving)
	}
}

// The same module with another configuration is another use.
func TestAConfigurationIsJudgedWithItsModule(t *testing.T) {
	w := want("user", "u")
	w.Use.Configuration = []byte("one")
	refusing := func(u Use) string {
		if string(u.Configuration) == "two" {
			return "it does not know two"
		}
		return ""
	}
	book := run(Book{}, start, refusing, w)
	w.Use.Configuration = []byte("two")
	book = run(book, start.Add(time.Hour), refusing, w)
	if got := book.Serving[w.Name()]; string(got.Configuration) != "one" {
		t.Errorf("serves with %q", got.Configuration)
	}
	if p := book.Problems([]Wanted{w}); len(p) != 1 {
		t.Errorf("told is %v", p)
	}
}

func TestWhatTheEnvironmentHinderedIsTriedAgain(t *testing.T) {
	w := want("filter", "a")
	book, work := Book{}.Next([]Wanted{w}, start)
	if len(work.Inspect) != 1 {
		t.Fatal("not inspected")
	}
	book = book.Judged(Verdict{Use: w.Use, Cause: "no process", Unable: true, At: start})
	if _, work := book.Next([]Wanted{w}, start.Add(Again/2)); len(work.Inspect) > 0 {
		t.Error("tried again at once")
	}
	if _, later := book.Flip(start); later != Again {
		t.Errorf("to be asked again after %v", later)
	}
	book, work = book.Next([]Wanted{w}, start.Add(Again))
	if len(work.Inspect) != 1 {
		t.Fatal("never tried again")
	}
	book = book.Judged(Verdict{Use: w.Use, At: start})
	book = book.Obstructed(w.Name(), "disk full")
	if p := book.Problems([]Wanted{w}); len(p) != 1 || !strings.Contains(p[0].Cause, "disk full; all deny.") {
		t.Errorf("told is %v", p)
	}
	if _, work := book.Next([]Wanted{w}, start); len(work.Admit) != 1 {
		t.Error("keeping it is not tried again")
	}
	if book = run(book, start, fine, w); serving(book, w) != "a" || len(book.Problems([]Wanted{w})) > 0 {
		t.Errorf("it does not heal: %+v", book)
	}
}

func TestAnInspectionThatNobodyWaitsForIsStopped(t *testing.T) {
	book, _ := Book{}.Next([]Wanted{want("filter", "slow")}, start)
	book, work := book.Next([]Wanted{want("filter", "a")}, start)
	if len(work.Stop) != 1 || work.Stop[0].Digest != "slow" || len(work.Inspect) != 1 {
		t.Fatalf("the work is %+v", work)
	}
	if book = book.Judged(Verdict{Use: Use{Digest: "slow"}, Cause: "it was stopped"}); len(book.Verdicts) > 0 {
		t.Error("what an ended inspection says is believed")
	}
}

func TestStepsDoNotChangeTheirInput(t *testing.T) {
	a := want("filter", "a")
	book := run(Book{}, start, fine, a)
	for name, step := range map[string]func(){
		"Next":       func() { book.Next([]Wanted{want("other", "b")}, start) },
		"Admitted":   func() { book.Admitted(a.Name(), Use{Digest: "z"}, start) },
		"Obstructed": func() { book.Obstructed(a.Name(), "x") },
		"Flip":       func() { book.Flip(start) },
	} {
		step()
		if serving(book, a) != "a" || book.Good[a.Name()].Digest != "a" || len(book.Obstacles) > 0 || len(book.Under) > 0 {
			t.Fatalf("%s changed the book it was asked about: %+v", name, book)
		}
	}
}
