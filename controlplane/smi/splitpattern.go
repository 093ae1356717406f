package smi

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"

	"github.com/wasmesh/wasmesh/filters/pattern"
)

// Proxies read the expressions of their routes as RE2 does in Latin-1, byte by
// byte: measured, `\pL` is a letter of Latin-1 there and `\x{3b1}` an error that
// refuses the whole route. So an expression is written out again in bytes, with
// the meaning that package pattern gives it: text is UTF-8, and a byte that is
// not part of it matches nothing. Written out it can also be put into
// parentheses, where text such as `\Qa` would swallow what follows.

// runeLimit says which runes can occur: a header has all, the path of a request
// that any server takes only those of ASCII.
type runeLimit rune

const (
	anyRune runeLimit = unicode.MaxRune
	ascii   runeLimit = unicode.MaxASCII
)

// parsed reads an expression that package pattern has accepted.
func parsed(expr string) *syntax.Regexp {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return &syntax.Regexp{Op: syntax.OpNoMatch}
	}
	return re
}

// inBytes writes an expression for a proxy. What it returns is one term.
func (l runeLimit) inBytes(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return l.literal(re)
	case syntax.OpCharClass:
		return l.class(re.Rune)
	case syntax.OpAnyChar:
		return l.class([]rune{0, unicode.MaxRune})
	case syntax.OpAnyCharNotNL:
		return l.class([]rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune})
	case syntax.OpBeginLine:
		return "(?m:^)"
	case syntax.OpEndLine:
		return "(?m:$)"
	case syntax.OpBeginText:
		return `\A`
	case syntax.OpEndText:
		return `\z`
	case syntax.OpWordBoundary:
		return `\b`
	case syntax.OpNoWordBoundary:
		return `\B`
	case syntax.OpStar:
		return l.times(re, "*")
	case syntax.OpPlus:
		return l.times(re, "+")
	case syntax.OpQuest:
		return l.times(re, "?")
	case syntax.OpRepeat:
		return l.times(re, repetition(re.Min, re.Max))
	case syntax.OpEmptyMatch, syntax.OpCapture, syntax.OpConcat:
		return "(?:" + l.joined(re.Sub, "") + ")"
	case syntax.OpAlternate:
		return "(?:" + l.joined(re.Sub, "|") + ")"
	}
	return nothing
}

// nothing matches no text at all, not even the empty one.
const nothing = `[^\x00-\xff]`

func (l runeLimit) joined(subs []*syntax.Regexp, separator string) string {
	texts := make([]string, 0, len(subs))
	for _, sub := range subs {
		texts = append(texts, l.inBytes(sub))
	}
	return strings.Join(texts, separator)
}

func (l runeLimit) times(re *syntax.Regexp, operator string) string {
	return "(?:" + l.inBytes(re.Sub[0]) + ")" + operator
}

func repetition(least, most int) string {
	switch {
	case most < 0:
		return fmt.Sprintf("{%d,}", least)
	case most == least:
		return fmt.Sprintf("{%d}", least)
	}
	return fmt.Sprintf("{%d,%d}", least, most)
}

func (l runeLimit) literal(re *syntax.Regexp) string {
	var b strings.Builder
	for _, r := range re.Rune {
		switch {
		case re.Flags&syntax.FoldCase != 0:
			same := []rune{r, r}
			for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
				same = append(same, other, other)
			}
			b.WriteString(l.class(same))
		case r <= unicode.MaxASCII:
			b.WriteString(regexp.QuoteMeta(string(r)))
		default:
			b.WriteString(l.class([]rune{r, r}))
		}
	}
	return "(?:" + b.String() + ")"
}

// class writes a set of runes, given as pairs: those of one byte in brackets,
// each run of longer ones as the bytes of its encodings.
func (l runeLimit) class(pairs []rune) string {
	var single strings.Builder
	var longer []string
	for i := 0; i+1 < len(pairs); i += 2 {
		for _, encoding := range pattern.Encodings(pairs[i], min(pairs[i+1], rune(l))) {
			if len(encoding) == 1 {
				single.WriteString(byteRange(encoding[0]))
				continue
			}
			text := ""
			for _, r := range encoding {
				text += "[" + byteRange(r) + "]"
			}
			longer = append(longer, text)
		}
	}
	if single.Len() > 0 {
		longer = append([]string{"[" + single.String() + "]"}, longer...)
	}
	switch len(longer) {
	case 0:
		return nothing
	case 1:
		return "(?:" + longer[0] + ")"
	}
	return "(?:" + strings.Join(longer, "|") + ")"
}

func byteRange(r pattern.ByteRange) string {
	if r.Low == r.High {
		return byteText(r.Low)
	}
	return byteText(r.Low) + "-" + byteText(r.High)
}

// byteText keeps letters and digits readable.
func byteText(b byte) string {
	if 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' {
		return string(rune(b))
	}
	return fmt.Sprintf(`\x%02x`, b)
}

// maxProxyProgram bounds an expression for a proxy, in instructions: its matcher
// gives up at about 350,000, and with it a whole route.
const maxProxyProgram = 200_000

// proxyProgram estimates how many instructions a proxy makes of an expression.
func proxyProgram(re *syntax.Regexp) int {
	const perRange, perClass = 10, 40
	return pattern.Weigh(re, maxProxyProgram, func(re *syntax.Regexp) int {
		switch re.Op {
		case syntax.OpLiteral:
			return perRange * len(re.Rune)
		case syntax.OpCharClass:
			return perClass + perRange*len(re.Rune)/2
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			return perClass
		}
		return 1
	})
}
