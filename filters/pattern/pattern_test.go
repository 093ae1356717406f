package pattern

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wasmesh/wasmesh/filters/automaton"
)

func sameAutomaton(a, b *automaton.Automaton) bool {
	return bytes.Equal(a.AppendTo(nil), b.AppendTo(nil))
}

func ExamplePath() {
	a, err := Path(`/books/[0-9]+`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Match("/books/12"), a.Match("/books/12/edit"), a.Match("/books/new"))
	// Output: true true false
}

func ExampleUnanchored() {
	fmt.Println(Unanchored(`/metrics`), Unanchored(`/metrics$`), Unanchored(`/metrics/.*`))
	// Output: true false false
}

func TestReadings(t *testing.T) {
	tests := []struct {
		rule, expr, text string
		path, full       bool
	}{
		{"36 anchored at the start", `/metrics`, "/metrics", true, true},
		{"36 open at the end", `/metrics`, "/metrics/x", true, false},
		{"36 even within a word", `/metrics`, "/metricsfoo", true, false},
		{"36 not in the middle", `/metrics`, "/a/metrics", false, false},
		{"36 closed by the author", `/metrics$`, "/metrics", true, true},
		{"36 closed by the author", `/metrics$`, "/metrics/x", false, false},
		{"36 closed at the text's end, not a line's", `/metrics$`, "/metrics\n", false, false},
		{"36 closed at a line's end when asked", `(?m)/metrics$`, "/metrics\nx", true, false},
		{"36 explicit start", `^/metrics`, "/metrics", true, true},
		{"36 alternatives share the anchor", `/a|/b`, "/x/b", false, false},
		{"36 alternatives share the end", `/a$|/b`, "/b/c", true, false},
		{"36 an empty expression", ``, "/any", true, false},
		{"36 a word boundary at the open end", `/a\b`, "/a/b", true, false},
		{"36 a word boundary at the open end", `/a\b`, "/ab", false, false},
		{"36 any bytes after the end", `/a\b`, "/a\xff", true, false},
		{"36 no break out of the anchor", `/a|\Q/b`, "/x/b", false, false},
		{"39 lazy is the same language", `/a+?`, "/aaa", true, true},
		{"39 case folding", `(?i)/Straße`, "/STRAẞE", true, true},
		{"39 the Kelvin sign folds to k", `(?i)/k`, "/\u212a", true, true},
		{"39 an ASCII boundary", `/é\b.*`, "/éa", true, true},
		{"39 an ASCII boundary", `/é\b`, "/é/", false, false},
		{"39 classes", `/\d{4}-[[:xdigit:]]+`, "/2024-Ff", true, true},
		{"39 never", `/a[^\x00-\x{10FFFF}]`, "/ab", false, false},
		{"46 a value is matched whole", `Firefox`, "Firefox", true, true},
		{"46 a value is matched whole", `Firefox`, "Mozilla Firefox", false, false},
		{"46 unless wrapped", `.*Firefox.*`, "Mozilla Firefox 1", true, true},
	}
	for _, tt := range tests {
		path, err := Path(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		full, err := PathFull(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		value, err := Value(tt.expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := path.Match(tt.text); got != tt.path {
			t.Errorf("%s: Path(%q) on %q: %v", tt.rule, tt.expr, tt.text, got)
		}
		if got := full.Match(tt.text); got != tt.full {
			t.Errorf("%s: PathFull(%q) on %q: %v", tt.rule, tt.expr, tt.text, got)
		}
		if !sameAutomaton(full, value) {
			t.Errorf("%s: Value(%q) differs from PathFull", tt.rule, tt.expr)
		}
	}
}

// A byte that belongs to no encoding matches no rune; Go's regexp would say
// that it does.
func TestMalformedTextFailsClosed(t *testing.T) {
	for _, text := range []string{"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf0\x9f\x98", "a\xff"} {
		for _, expr := range []string{`(?s).`, `(?s).+`, `[^a]`, `[^a]+`, `\W`, `\PL`, `\x{FFFD}`, `(?s).*`} {
			a, err := Value(expr)
			if err != nil {
				t.Fatal(err)
			}
			if a.Match(text) {
				t.Errorf("Value(%q) accepts malformed %q", expr, text)
			}
		}
		a, err := Path(`/x`)
		if err != nil {
			t.Fatal(err)
		}
		if !a.Match("/x" + text) {
			t.Errorf("the open end of a Path refuses %q", text)
		}
	}
}

func TestDotIsExactlyOneEncodedRune(t *testing.T) {
	a, err := Value(`.`)
	if err != nil {
		t.Fatal(err)
	}
	check := func(b ...byte) {
		_, n := utf8.DecodeRune(b)
		want := utf8.Valid(b) && n == len(b) && b[0] != '\n'
		if a.Match(string(b)) != want {
			t.Fatalf("%x: want %v", b, want)
		}
	}
	ends := []byte{0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff}
	for first := range 256 {
		check(byte(first))
		for second := range 256 {
			check(byte(first), byte(second))
			for _, third := range ends {
				check(byte(first), byte(second), third)
				for _, fourth := range ends {
					check(byte(first), byte(second), third, fourth)
				}
			}
		}
	}
}

func TestClassesHoldExactlyTheirRunes(t *testing.T) {
	for _, expr := range []string{`\pL`, `\PN`, `(?i)[k-s\x{1E900}]`, `[^/é\x{800}-\x{FFFF}]`, `[\x{D000}-\x{E001}]`} {
		a, err := Value(expr)
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^` + expr + `$`)
		for r := rune(0); r <= unicode.MaxRune; r++ {
			// Every rune near a border of encodings, and a part of the others.
			if r > 0x3000 && r%61 != 0 && r&0xfff > 2 && r&0xfff < 0xffd || !utf8.ValidRune(r) {
				continue
			}
			if s := string(r); a.Match(s) != want.MatchString(s) {
				t.Fatalf("Value(%q) on %U: got %v", expr, r, a.Match(s))
			}
		}
	}
}

// Equal languages give equal automata, so a table can share them.
func TestEqualLanguagesGiveEqualAutomata(t *testing.T) {
	for _, pair := range [][2]string{
		{`/(a|b)`, `/[ab]`}, {`/a+`, `/aa*?`}, {`/ab|/ac`, `/a(?:b|c)`}, {`(?i)/a`, `/[Aa]`},
		{`/a$`, `/a\z`}, {`[^\x00-\x{10FFFF}]`, `/\Aa`}, {`.{2}`, `..`}, {`/a(\b|\B)`, `/a`},
		{`/metrics`, `/metrics`},
	} {
		for _, compile := range []func(string) (*automaton.Automaton, error){Path, PathFull} {
			a, err := compile(pair[0])
			if err != nil {
				t.Fatal(err)
			}
			b, err := compile(pair[1])
			if err != nil {
				t.Fatal(err)
			}
			if !sameAutomaton(a, b) {
				t.Errorf("%q and %q differ", pair[0], pair[1])
			}
		}
	}
}

func TestUnanchored(t *testing.T) {
	for expr, want := range map[string]bool{
		`/metrics`: true, `/metrics$`: false, `/metrics\z`: false, `/metrics/.*`: false, `.*`: false,
		`/a$|/b`: true, `/a(/.*)?$`: false, `/[^/]+`: true, ``: true, `/[[:graph:]]*`: false,
		`/a(`: false, `/a\w*`: true, `/.+`: false, `/\pL{1,10}`: true, `/\pL{1,10}$`: false, `(.*x){1000}`: true, `(?s)/.*`: false,
	} {
		if got := Unanchored(expr); got != want {
			t.Errorf("Unanchored(%q) = %v", expr, got)
		}
	}
}
