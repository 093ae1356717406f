package requests

import (
	"fmt"
	"strings"
)

// generated are the families that put every byte at a place where its meaning
// may differ. What is wanted follows from three facts: NUL, slash and backslash
// are not told apart from their encodings by some applications, a semicolon
// after dots may end the segment, and letters, digits and - . _ ~ are the same
// encoded or not (RFC 3986, 2.3).
func generated() []shape {
	var all []shape
	for b := range 256 {
		code := fmt.Sprintf("%%%02x", b)
		if b%2 == 0 {
			code = strings.ToUpper(code)
		}
		c := string([]byte{byte(b)})
		reads := code // as the application receives it
		if isUnreserved(byte(b)) {
			reads = c
		}
		hidden := strings.Contains("\x00/\\", c)
		dots := expectation{word: allow, target: "/public/.." + reads + "/admin"}
		if hidden || c == ";" {
			dots = rejected()
		}
		letter := expectation{word: deny}
		if hidden {
			letter = rejected()
		}
		all = append(all,
			everyWay("every encoding after two dots", "/public/.."+code+"/admin", dots),
			everyWay("every encoding as a first letter", "/"+code+"dmin", letter),
			everyWay("every encoding after what is granted", "/public"+code+"/../admin", letter),
		)
	}
	return all
}

func rejected() expectation { return expectation{word: status, status: 400} }

func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-._~", b) >= 0
}

// everyWay is a GET of a target without anything that needs an escape.
func everyWay(family, target string, want expectation) shape {
	s := shape{family: family, name: target, at: "generated", why: family, brief: true}
	s.wants = map[way]expectation{http1: want, http2: want, direct: want}
	// A target of visible characters cannot be written wrongly.
	s.text, _ = requestText("GET "+target, []string{"x-role: user"})
	s.frames, _ = requestFrames("GET "+target, []string{"x-role: user"})
	return s
}
