package reference

import (
	"path"
	"regexp"
	"strings"
)

var (
	// plain has no parameters, no backslash, and no escapes but of the unreserved
	// characters of RFC 3986, 2.3.
	plain     = regexp.MustCompile(`^(?:/(?:[A-Za-z0-9._~-]|%4[1-9A-Fa-f]|%5[0-9Aa]|%6[1-9A-Fa-f]|%7[0-9Aa]|%3[0-9]|%2[DdEe]|%5[Ff]|%7[Ee])*)+$`)
	escaped   = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	refused   = regexp.MustCompile(`(?i)%2f|%5c|%00|%($|.$|[^0-9a-f]|.[^0-9a-f])|#`)
	invisible = regexp.MustCompile(`[^!-~]|#`)
	slashes   = regexp.MustCompile(`//+`)
	dotted    = regexp.MustCompile(`(^|/)\.\.?(/|$)`)
)

// Reading normalises a request target that is simple enough to have one obvious
// reading (37, 38). refuse: it has none. known: false where this function is
// too simple to say.
func Reading(target string) (reading string, refuse, known bool) {
	reading, _, _ = strings.Cut(target, "?")
	switch {
	case !strings.HasPrefix(target, "/"), invisible.MatchString(target):
		return "", true, true
	case refused.MatchString(reading):
		return "", true, true
	case !plain.MatchString(reading):
		return "", false, false
	}
	reading = escaped.ReplaceAllStringFunc(reading, func(escape string) string {
		return string([]byte{nibble(escape[1])<<4 | nibble(escape[2])})
	})
	if !dotted.MatchString(reading) {
		merged := slashes.ReplaceAllString(reading, "/")
		return merged, false, merged != "/" || reading == "/"
	}
	if slashes.MatchString(reading) {
		return "", false, false // whether an empty segment is one to go up from
	}
	cleaned := path.Clean(reading)
	last := reading[strings.LastIndexByte(reading, '/')+1:]
	if cleaned != "/" && (last == "" || last == "." || last == "..") {
		cleaned += "/"
	}
	return cleaned, false, true
}

func nibble(digit byte) byte {
	return byte(strings.IndexByte("0123456789abcdef", digit|0x20))
}
