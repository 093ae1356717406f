package pattern

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

// A sample is a random expression together with a way to make strings that it
// is likely to accept: with unrelated strings nearly every comparison would
// only show that nothing matches.
type sample struct {
	expr string
	text func(*rand.Rand) string
}

var letters = []string{"a", "b", "k", "K", "Z", "0", "_", "-", "/", " ", "\n", "é", "É", "ß", "ſ", "\u212a", "世", "\ufffd", "😀"}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func constant(s string) func(*rand.Rand) string { return func(*rand.Rand) string { return s } }

func oneOf(s string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return string(pick(r, []rune(s))) }
}

func randomExpr(r *rand.Rand, depth int) sample {
	if depth == 0 || r.IntN(6) == 0 {
		return randomAtom(r)
	}
	sub := randomExpr(r, depth-1)
	switch r.IntN(9) {
	case 0, 1, 2:
		next := randomExpr(r, depth-1)
		return sample{sub.expr + next.expr, func(r *rand.Rand) string { return sub.text(r) + next.text(r) }}
	case 3:
		next := randomExpr(r, depth-1)
		return sample{"(?:" + sub.expr + "|" + next.expr + ")", func(r *rand.Rand) string {
			return pick(r, []sample{sub, next}).text(r)
		}}
	case 4:
		op := pick(r, []string{"*", "+", "?", "*?", "+?", "??"})
		return sample{"(" + sub.expr + ")" + op, func(r *rand.Rand) string { return repeat(r, sub, 1, 1) }}
	case 5:
		low := r.IntN(3)
		high := low + r.IntN(3)
		return sample{fmt.Sprintf("(?:%s){%d,%d}", sub.expr, low, high), func(r *rand.Rand) string {
			return repeat(r, sub, low, high)
		}}
	case 6:
		return sample{pick(r, []string{"(?i:", "(?m:", "(?s:", "(?U:", "(?im:"}) + sub.expr + ")", sub.text}
	default:
		a := pick(r, []string{`^`, `$`, `\A`, `\z`, `\b`, `\B`, `(?m:^)`, `(?m:$)`, `(?i)`, `(?m)`})
		if r.IntN(2) == 0 {
			return sample{a + sub.expr, sub.text}
		}
		return sample{sub.expr + a, sub.text}
	}
}

func repeat(r *rand.Rand, s sample, low, high int) string {
	var b strings.Builder
	for n := low + r.IntN(high-low+1); n > 0; n-- {
		b.WriteString(s.text(r))
	}
	return b.String()
}

func randomAtom(r *rand.Rand) sample {
	switch r.IntN(6) {
	case 0, 1, 2:
		l := pick(r, letters)
		return sample{regexp.QuoteMeta(l), constant(l)}
	default:
		return pick(r, []sample{
			{`.`, oneOf("a/é世😀")}, {`[^/]`, oneOf("ab\n世")}, {`(?s:.)`, oneOf("\nß")},
			{`[a-c]`, oneOf("abc")}, {`\w`, oneOf("az09_")}, {`\W`, oneOf("/é -")}, {`\d`, oneOf("09")},
			{`[^a-z\n]`, oneOf("AZ0世")}, {`\pL`, oneOf("aé世ſ")}, {`\PL`, oneOf("0/😀")},
			{`[[:alpha:]]`, oneOf("aZ")}, {`\s`, oneOf(" \n\t")}, {`[é-世]`, oneOf("éſ世")},
			{`[\x{10000}-\x{10ffff}]`, oneOf("😀")}, {`(?i)[k-s]`, oneOf("kKſ\u212a")}, {``, constant("")},
		})
	}
}

// randomText follows the expression, strays from it a little, or ignores it.
func randomText(r *rand.Rand, s sample) string {
	text := s.text(r)
	switch r.IntN(4) {
	case 0:
		return text
	case 1:
		return text + pick(r, letters) + pick(r, letters)
	case 2:
		runes := []rune(text + pick(r, letters))
		runes[r.IntN(len(runes))] = []rune(pick(r, letters))[0]
		return string(runes)
	default:
		var b strings.Builder
		for n := r.IntN(6); n > 0; n-- {
			b.WriteString(pick(r, letters))
		}
		return b.String()
	}
}

// A pair is one expression in both readings, and in Go's regexp.
type pair struct {
	expr                   string
	path, full             *automaton.Automaton
	pathOracle, fullOracle *regexp.Regexp
}

// compilePair returns false if the expression is too large, as a random one
// may be. Anything else that regexp takes must compile.
func compilePair(t *testing.T, expr string) (p pair, ok bool) {
	t.Helper()
	path, pathErr := Path(expr)
	full, fullErr := PathFull(expr)
	var limit *LimitError
	if err := errors.Join(pathErr, fullErr); errors.As(err, &limit) {
		return p, false
	} else if err != nil {
		t.Fatal(err)
	}
	return pair{
		expr: expr, path: path, full: full,
		pathOracle: regexp.MustCompile(`^(?:` + expr + `)`),
		fullOracle: regexp.MustCompile(`\A(?:` + expr + `)\z`),
	}, true
}

// compare runs both readings on valid UTF-8, where the two dialects agree.
func (p pair) compare(t *testing.T, text string) (path, full bool) {
	t.Helper()
	path, full = p.path.Match(text), p.full.Match(text)
	if want := p.pathOracle.MatchString(text); path != want {
		t.Fatalf("Path(%q) on %q: got %v, regexp says %v", p.expr, text, path, want)
	}
	if want := p.fullOracle.MatchString(text); full != want {
		t.Fatalf("PathFull(%q) on %q: got %v, regexp says %v", p.expr, text, full, want)
	}
	return path, full
}

func TestAgreesWithRegexp(t *testing.T) {
	const expressions, texts = 1000, 20
	r := rand.New(rand.NewPCG(36, 46))
	var total, path, full int
	for range expressions {
		s := randomExpr(r, 4)
		p, ok := compilePair(t, s.expr)
		if !ok {
			continue
		}
		for range texts {
			inPath, inFull := p.compare(t, randomText(r, s))
			total++
			if inPath {
				path++
			}
			if inFull {
				full++
			}
		}
	}
	t.Logf("of %d texts, %d match as Path and %d as PathFull", total, path, full)
	if total < expressions*texts*9/10 {
		t.Errorf("only %d texts compared: too many expressions are too large", total)
	}
	for _, n := range []int{path, full} {
		if n < total/10 || total-n < total/10 {
			t.Errorf("of %d texts %d match: the comparison is one-sided", total, n)
		}
	}
}

func FuzzAgreesWithRegexp(f *testing.F) {
	r := rand.New(rand.NewPCG(39, 1))
	for range 50 {
		s := randomExpr(r, 3)
		f.Add(s.expr, randomText(r, s))
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		// An open \Q would quote the wrapper that regexp needs.
		if len(expr) > 80 || len(text) > 80 || strings.Contains(expr, `\Q`) {
			return
		}
		if _, err := regexp.Compile(expr); err != nil {
			return
		}
		p, ok := compilePair(t, expr)
		switch {
		case !ok:
		case utf8.ValidString(text):
			p.compare(t, text)
		case p.full.Match(text):
			t.Fatalf("PathFull(%q) accepts malformed %q", expr, text)
		}
	})
}

// FuzzCompile looks for expressions that break the limits or the promises that
// hold for every expression.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{`/books/[0-9]+$`, `(a|b)*a(a|b){20}`, `(?i)\pL{3}\b`, `\Qa`, `a)|(b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		for _, r := range []reading{front, whole} {
			a, err := compile(expr, r)
			if err != nil {
				continue
			}
			again, err := compile(expr, r)
			if err != nil {
				t.Fatalf("%q is taken only once: %v", expr, err)
			}
			if !sameAutomaton(a, again) {
				t.Fatalf("%q gives two automata", expr)
			}
		}
		Unanchored(expr)
	})
}
