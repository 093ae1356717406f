package pattern

import (
	"errors"
	"regexp/syntax"
	"strings"
	"testing"
)

func TestInvalid(t *testing.T) {
	for expr, says := range map[string]string{
		`/a(`:           "missing closing )",
		`/a)|(b`:        "unexpected )",
		`(?!a)`:         "look-around",
		`(a)\1`:         "back-references",
		"/a\xff":        "invalid UTF-8",
		`a{2,1}`:        "from low to high",
		`((a{99}){99})`: "nested ones multiplied",
	} {
		_, err := Path(expr)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Expr != expr {
			t.Errorf("%q: got %v", expr, err)
			continue
		}
		var cause *syntax.Error
		if !errors.As(err, &cause) {
			t.Errorf("%q: the parser's error is not in the chain", expr)
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q does not say %q", expr, err, says)
		}
	}
}

// Each expression would be ruinous for some construction; the counters, not a
// clock, tell that it is not for this one.
func TestTooLarge(t *testing.T) {
	for _, tt := range []struct{ expr, what string }{
		{strings.Repeat("a", MaxBytes+1), "bytes"},
		{`(?i)[` + strings.Repeat("B-\U0001e000", MaxRanges+1) + `]`, "ranges"},
		{`(a{100}b){10}` + strings.Repeat(`(abcde{200}){5}`, 60), "nodes"},
		{`(a|b)*a(a|b){20}`, "states"},
		{`(\pL|\pN){1,200}`, "states"},
		{`(?i)[\pL]{1,1000}`, "states"},
		{`(.{0,30}b){0,30}`, "states"},
		{`(\pL){1,10}`, "transitions"},
		{`(.*x){1000}`, "states"},
		{`(.?){1000}`, "steps"},
		{`(a|ab|abc|[^a]*){500}`, "steps"},
		{`(\PN?){900}`, "steps"},
		{`(.?|\b|a?){900}`, "steps"},
	} {
		name := shorten(tt.expr)
		_, err := PathFull(tt.expr)
		var limit *LimitError
		switch {
		case !errors.As(err, &limit) || limit.What != tt.what:
			t.Errorf("%s: got %v, want too many %s", name, err, tt.what)
		case !strings.Contains(err.Error(), "; "):
			t.Errorf("%s: %q does not say what to try", name, err)
		}
		if len(err.Error()) > 300 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
		p, err := parse(tt.expr)
		if err != nil {
			continue
		}
		var w work
		d, _ := determinise(p, whole, everyByte, &w)
		checkBounds(t, name, d, w)
	}
}

// checkBounds allows what one state and one step may add before the limit is
// noticed.
func checkBounds(t *testing.T, name string, d *dfa, w work) {
	t.Helper()
	if w.done > MaxWork+MaxWork/10 {
		t.Errorf("%s: %d steps", name, w.done)
	}
	if d != nil && len(d.rows) > MaxStates+256 {
		t.Errorf("%s: %d states", name, len(d.rows))
	}
}

// What a real mesh might hold must not come near the limits.
func TestRealisticExpressionsAreSmall(t *testing.T) {
	for _, expr := range []string{
		`/books/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,
		`/api/v[0-9]+/(users|orders|carts)/[^/]+(/.*)?$`,
		`.*(Firefox|Chrome|Safari)/[0-9.]+.*`,
		`([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`,
		`[^/]{1,255}`,
	} {
		p, err := parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		var w work
		a, err := build(p, whole, everyByte, &w)
		if err != nil {
			t.Fatal(err)
		}
		if w.done > MaxWork/100 {
			t.Errorf("%s: %d steps", expr, w.done)
		}
		t.Logf("%s: %d states, %d bytes", expr, a.States(), len(a.AppendTo(nil)))
	}
}

func TestTheSameAutomatonEveryTime(t *testing.T) {
	for _, expr := range []string{`(?i)/(\pL|a.b)+\b$`, `(a|b)*a(a|b){6}`} {
		first, err := Path(expr)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			again, err := Path(expr)
			if err != nil {
				t.Fatal(err)
			}
			if !sameAutomaton(first, again) {
				t.Fatalf("%q compiles differently the second time", expr)
			}
		}
	}
}

func BenchmarkPathTypical(b *testing.B) { benchmarkPath(b, `/api/v[0-9]+/(users|orders)/[^/]+$`) }

// The costliest expressions found that are accepted: in the construction, in
// the minimisation, and in the parser, which folds each wide range by itself.
func BenchmarkPathStates(b *testing.B) { benchmarkPath(b, `(a?){1000}$`) }
func BenchmarkPathCaseFolding(b *testing.B) {
	benchmarkPath(b, `(?i)[`+strings.Repeat("B-\U0001e000", MaxRanges)+`]`)
}

func benchmarkPath(b *testing.B, expr string) {
	for b.Loop() {
		if _, err := Path(expr); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch60Bytes(b *testing.B) {
	a, err := Path(`/api/v[0-9]+/(users|orders)/[^/]+$`)
	if err != nil {
		b.Fatal(err)
	}
	const path = "/api/v2/users/0123456789abcdef0123456789abcdef0123456789abcd"
	if len(path) != 60 || !a.Match(path) {
		b.Fatal("the path does not fit")
	}
	for b.Loop() {
		a.Match(path)
	}
}
