package smi

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wasmesh/wasmesh/filters/pattern"
)

// asLatin1 is what a matcher that works on bytes sees: a rune for every byte.
func asLatin1(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// forProxy compiles what a proxy is given, as a proxy reads it.
func forProxy(t *testing.T, limit runeLimit, expr string) *regexp.Regexp {
	t.Helper()
	text := limit.inBytes(parsed(expr))
	for _, c := range text {
		if c > 0x7e || c < ' ' {
			t.Fatalf("%q is not plain text", text)
		}
	}
	return regexp.MustCompile(`\A(?:` + text + `)\z`)
}

// What a proxy is given means what package pattern understands, for text of any
// kind, malformed too.
func TestExpressionsInBytes(t *testing.T) {
	expressions := []string{
		"", "a", "a|b", "^a$", "a.*", ".*", ".", "..", "[^a]+", "[a-c]{2,3}", "a{0}", "a{2,}", "(a|b|)", "x*?", `\Qa.b`, `\Qa|b\E|c`, "(?i)ab", "a(?i)b", "(?i:k)s",
		`\d+`, `\w+-\w+`, `\bab\b`, `.*\B.`, `\Aab\z`, "(?m)^ab$", "(?s)a.b", "(?s:.)*", "(?P<n>a)b", `[[:^alpha:]]+`, `\pL+`, `\PL`, `\p{Greek}+`, `\x{e9}`, "é+", "[à-ü]", "[^é]",
		`[.*|()\]^-]+`, "[^\\x00-\\x{10FFFF}]", "(?:[^\\x00-\\x{10FFFF}])*a", `[\x{d000}-\x{e100}]`, `[\x{7f0}-\x{810}]+`, `[\x{fff0}-\x{10010}]`, "(?i)é", "(?i)ſ",
	}
	values := []string{"", "a", "b", "ab", "aB", "AB", "aa", "abab", "a.b", "a|b", "c", "ab-cd", "123", "a\nb", "é", "ÉÉ", "è", "αβγ", "K", "K", "ſ", "s", "日本", "😀", "\x00", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000"}
	for b := range 256 {
		values = append(values, string([]byte{byte(b)}), "a"+string([]byte{byte(b)}), string([]byte{0xe9, byte(b)}), string([]byte{0xed, 0xa0, byte(b)}), string([]byte{0xc3, byte(b)}))
	}
	met := 0
	for _, expr := range expressions {
		want, err := pattern.Value(expr)
		if err != nil {
			t.Fatal(err)
		}
		got := forProxy(t, anyRune, expr)
		for _, v := range values {
			if got.MatchString(asLatin1(v)) != want.Match(v) {
				t.Errorf("%s: %q: a proxy says %v", expr, v, !want.Match(v))
			}
			if want.Match(v) {
				met++
			}
		}
	}
	if met < 500 {
		t.Errorf("only %d values were met", met)
	}
}

// A path is ASCII, and so is what describes one.
func TestPathsInBytes(t *testing.T) {
	for expr, want := range map[string]string{"/a.b": `(?:(?:/a)(?:[\x00-\x09\x0b-\x7f])(?:b))`, "é": "(?:" + nothing + ")", `\pL`: "(?:[A-Za-z])"} {
		if got := ascii.inBytes(parsed(expr)); got != want {
			t.Errorf("%s: got %s, want %s", expr, got, want)
		}
	}
	for _, path := range []string{"/", "/a", "/a/b", "/aéb", "/A"} {
		want, _ := pattern.PathFull("/[^A].*|/")
		if isASCII := len(path) == utf8.RuneCountInString(path); forProxy(t, ascii, "/[^A].*|/").MatchString(asLatin1(path)) != (want.Match(path) && isASCII) {
			t.Errorf("%s", path)
		}
	}
}

// Every rune of a range has its bytes in the ranges, and nothing else has.
func TestEncodings(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	edges := []rune{0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000, 0x10ffff}
	near := func() rune {
		return max(0, min(0x10ffff, edges[r.IntN(len(edges))]+rune(r.IntN(400)-200)))
	}
	for range 100 {
		low, high := near(), near()
		re := regexp.MustCompile(`\A(?:` + anyRune.class([]rune{low, high}) + `)\z`)
		for range 200 {
			c := near()
			if r.IntN(2) == 0 && high > low {
				c = low + rune(r.IntN(int(high-low)))
			}
			if !utf8.ValidRune(c) {
				continue
			}
			if got, want := re.MatchString(asLatin1(string(c))), low <= c && c <= high; got != want {
				t.Fatalf("%x to %x: %x: got %v", low, high, c, got)
			}
		}
	}
}

// The estimate is not below what a matcher of the same kind makes.
func TestProxyProgramIsEnough(t *testing.T) {
	for _, expr := range []string{"abc", `\pL{3}`, ".*", `[^\x{80}-\x{ff}]+`, `(?i)[a-zα-ω]{2,5}`, `\p{Han}|\p{Greek}`, `(?:\pL\d?){4}`} {
		re, err := syntax.Parse(anyRune.inBytes(parsed(expr)), syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		program, err := syntax.Compile(re.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if got := proxyProgram(parsed(expr)); got < len(program.Inst) {
			t.Errorf("%s: estimated %d, and it has %d instructions", expr, got, len(program.Inst))
		}
	}
}
