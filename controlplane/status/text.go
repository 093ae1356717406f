package status

import (
	"strings"
	"unicode"
)

// clip cuts the middle out of a text that is too long, as names differ at their
// ends, and replaces what could move a cursor.
func clip(text string, width int) string {
	runes := []rune(strings.Map(printable, text))
	if len(runes) <= width {
		return string(runes)
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// wrap breaks a text between words, with the indent before every further line; a
// word that is longer than a line is broken anywhere.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	room := width
	for i, word := range strings.Fields(text) {
		runes := []rune(strings.Map(printable, word))
		if i > 0 {
			if len(runes)+1 <= room {
				b.WriteByte(' ')
				room--
			} else {
				b.WriteString("\n" + indent)
				room = width - len(indent)
			}
		}
		for len(runes) > room {
			b.WriteString(string(runes[:room]) + "\n" + indent)
			runes, room = runes[room:], width-len(indent)
		}
		b.WriteString(string(runes))
		room -= len(runes)
	}
	return b.String() + "\n"
}
