package serve

import "strings"

// blamed returns those of the names that a refusal speaks of. Envoy refuses one
// response with many resources for the sake of one of them, takes the others,
// and names the one in its cause. If it names none, all are in doubt.
func blamed(names []string, cause string) []string {
	var out []string
	for _, name := range names {
		if mentions(cause, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return names
	}
	return out
}

// mentions looks for a whole name: inbound|80 is not in inbound|8081.
func mentions(text, name string) bool {
	for i := 0; name != ""; {
		at := strings.Index(text[i:], name)
		if at < 0 {
			return false
		}
		begin, end := i+at, i+at+len(name)
		if (begin == 0 || !isNameByte(text[begin-1])) && (end == len(text) || !isNameByte(text[end])) {
			return true
		}
		i = begin + 1
	}
	return false
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_|/", c) >= 0
}
