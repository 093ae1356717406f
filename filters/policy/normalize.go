package policy

import "strings"

// Path is the one reading of a request's path on which a decision rests, or
// rather the two that backends are known to take: most read it literally, some
// drop the parameters after a semicolon in each segment first. A path clause
// holds only when both readings match, so no backend sees what was not granted.
type Path struct {
	Literal  string
	Stripped string
}

// Normalize reads a :path as the sidecar's HTTP connection manager does with
// normalize_path, merge_slashes and path_with_escaped_slashes_action
// REJECT_REQUEST: the query is dropped (smi-rules 37), percent-encoded
// unreserved characters are decoded, backslashes become slashes, dot segments
// are resolved, and then repeated slashes become one (smi-rules 38). It is
// idempotent. False means that the path has no single reading and the request
// is answered 400. tests/normalize holds it against the sidecar, and names the
// few shapes that it refuses and the sidecar alone would not.
func Normalize(raw string) (Path, bool) {
	path, ok := cutQuery(raw)
	if !ok {
		return Path{}, false
	}
	if isPlain(path) {
		return Path{path, path}, true
	}
	literal, ok := canonical(path)
	if !ok {
		return Path{}, false
	}
	return Path{literal, withoutParameters(literal)}, true
}

// cutQuery returns what is before the first question mark. The whole target
// must be visible ASCII, which is all that a request line can carry, without a
// fragment, which no client sends on purpose.
func cutQuery(raw string) (string, bool) {
	if raw == "" || raw[0] != '/' {
		return "", false
	}
	end := len(raw)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c <= ' ' || c >= 0x7f || c == '#':
			return "", false
		case c == '?' && end == len(raw):
			end = i
		}
	}
	return raw[:end], true
}

// isPlain reports whether the path is its own canonical form for certain. It
// is the way almost every request takes.
func isPlain(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; classOf(c) {
		case slash:
			if c == '\\' || i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		case pass:
			if c == ';' {
				return false
			}
		case escape, percent:
			return false
		}
	}
	return true
}

// The classes of a byte in a path, as the sidecar's URL library has them.
const (
	escape     = iota // percent-encoded where it appears as it is
	pass              // kept as it is, and kept encoded where it is encoded
	unreserved        // kept, and decoded where it is encoded (RFC 3986, 2.3)
	slash             // / and \
	percent
)

// The bytes of two classes, a bit for each below 64, and from there to 127.
// Hostile paths are long: comparing with one character after the other was a
// third of what they cost, and indexing a constant text is slow in Wasm.
const (
	unreservedLow, unreservedHigh uint64 = 0x3ff600000000000, 0x47fffffe87fffffe // letters, digits, -._~
	passLow, passHigh             uint64 = 0x2c001fd200000000, 0x28000001        // !$&'()*+,:;=@[]
)

func classOf(c byte) int {
	switch {
	case isIn(c, unreservedLow, unreservedHigh):
		return unreserved
	case c == '/' || c == '\\':
		return slash
	case isIn(c, passLow, passHigh):
		return pass
	case c == '%':
		return percent
	}
	return escape
}

func isIn(c byte, low, high uint64) bool {
	if c < 64 {
		return low>>c&1 == 1
	}
	return c < 128 && high>>(c-64)&1 == 1
}

// canonical rewrites path segment by segment. Dot segments are resolved while
// empty segments still count, as the sidecar does: /a//../b is /a/b.
func canonical(path string) (string, bool) {
	out := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); {
		next := i + 1
		for next < len(path) && classOf(path[next]) != slash {
			next++
		}
		start := len(out)
		var ok bool
		if out, ok = appendSegment(append(out, '/'), path[i+1:next]); !ok {
			return "", false
		}
		if out, ok = resolve(out, start, path[i:next], path[next:]); !ok {
			return "", false
		}
		i = next
	}
	return mergeSlashes(out), true
}

// appendSegment appends one segment with its escapes made uniform. False: an
// escape is malformed, or hides a slash, a backslash or NUL.
func appendSegment(out []byte, segment string) ([]byte, bool) {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		switch classOf(c) {
		case percent:
			value, ok := unhex(segment[i:])
			if !ok || value == 0 || classOf(value) == slash {
				return nil, false
			}
			if classOf(value) == unreserved {
				out = append(out, value)
			} else {
				out = append(out, segment[i:i+3]...)
			}
			i += 2
		case escape:
			const digits = "0123456789ABCDEF"
			out = append(out, '%', digits[c>>4], digits[c&15])
		default:
			kept := i + 1
			for kept < len(segment) && (classOf(segment[kept]) == pass || classOf(segment[kept]) == unreserved) {
				kept++
			}
			out = append(out, segment[i:kept]...)
			i = kept - 1
		}
	}
	return out, true
}

// resolve acts on the canonical segment at out[start:] if it is a dot segment.
// raw is the segment as it came, with the slash before it, after is what
// follows it. The sidecar drops the parameters of a dot segment before it reads
// escapes and backslashes; where those disguise one, it stays, and whoever reads
// next may resolve it: false.
func resolve(out []byte, start int, raw, after string) ([]byte, bool) {
	if len(out) == start+1 || out[start+1] != '.' {
		return out, true
	}
	segment := string(out[start+1:])
	name := cutParameters(segment)
	if name != "." && name != ".." {
		return out, true
	}
	plain := raw[0] == '/' && (after == "" || after[0] == '/') &&
		strings.HasPrefix(raw[1:], name) && strings.HasPrefix(raw[1+len(name):], ";")
	if segment != name && !plain {
		return nil, false
	}
	out = out[:start]
	if name == ".." {
		out = parent(out)
	}
	if after == "" {
		out = append(out, '/')
	}
	return out, true
}

// parent drops the last segment; above the root there is only the root.
func parent(path []byte) []byte {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return path
}

// mergeSlashes leaves two slashes of a path that has nothing else: so does the
// sidecar.
func mergeSlashes(path []byte) string {
	if !repeatsSlash(path) {
		return string(path)
	}
	merged := path[:1]
	for _, c := range path[1:] {
		if c != '/' || merged[len(merged)-1] != '/' {
			merged = append(merged, c)
		}
	}
	if len(merged) == 1 && len(path) > 1 {
		return "//"
	}
	return string(merged)
}

func repeatsSlash(path []byte) bool {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' && path[i-1] == '/' {
			return true
		}
	}
	return false
}

// withoutParameters is the reading of backends that drop parameters, for a
// canonical path: it has no dot segments, with or without parameters.
func withoutParameters(path string) string {
	if cutParameters(path) == path && path != "//" {
		return path
	}
	out := make([]byte, 0, len(path))
	for rest := path; rest != ""; {
		segment := rest[1:]
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment = segment[:i]
		}
		out = append(append(out, '/'), cutParameters(segment)...)
		rest = rest[1+len(segment):]
	}
	if merged := mergeSlashes(out); merged != "//" {
		return merged
	}
	return "/"
}

// cutParameters returns what is before the first semicolon, plain or encoded:
// some backends decode before they cut.
func cutParameters(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == ';' {
			return s[:i]
		}
		if value, ok := unhex(s[i:]); ok && value == ';' {
			return s[:i]
		}
	}
	return s
}

// unhex reads "%XX" at the start of s.
func unhex(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, ok1 := digit(s[1])
	low, ok2 := digit(s[2])
	return high<<4 | low, ok1 && ok2
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
