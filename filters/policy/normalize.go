package policy

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
// unreserved characters are decoded, dot segments are resolved, backslashes and
// repeated slashes become one slash (smi-rules 38). It is idempotent. False
// means that the path has no single reading and the request is answered 400.
func Normalize(raw string) (Path, bool) {
	path, ok := cutQuery(raw)
	if !ok {
		return Path{}, false
	}
	if isPlain(path) {
		return Path{path, path}, true
	}
	literal, ok := canonical(path, keepParameters)
	if !ok {
		return Path{}, false
	}
	stripped := literal
	if hasParameters(literal) {
		stripped, _ = canonical(literal, dropParameters)
	}
	return Path{literal, stripped}, true
}

// cutQuery returns what is before the first question mark. The whole target
// must be free of bytes that a request line cannot carry, and of a fragment,
// which no client sends on purpose.
func cutQuery(raw string) (string, bool) {
	if raw == "" || raw[0] != '/' {
		return "", false
	}
	end := len(raw)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c <= ' ' || c == 0x7f || c == '#':
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
		c := path[i]
		if c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
			return false
		}
		if k := classOf(c); c != '/' && (c == ';' || k != pass && k != unreserved) {
			return false
		}
	}
	return true
}

// The classes of a byte in a path, after the URL standard's path state.
const (
	escape     = iota // percent-encoded where it appears as it is
	pass              // kept as it is, and kept encoded where it is encoded
	unreserved        // kept, and decoded where it is encoded (RFC 3986, 2.3)
	slash             // / and \
	percent
	forbidden // NUL, which no backend reads like another
)

func classOf(c byte) int {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return unreserved
	case c == '/', c == '\\':
		return slash
	}
	switch c {
	case '-', '.', '_', '~':
		return unreserved
	case '!', '$', '&', '\'', '(', ')', '*', '+', ',', ':', ';', '=', '@', '[', ']', '^', '|':
		return pass
	case '%':
		return percent
	case 0:
		return forbidden
	}
	return escape
}

// Whether a segment loses what follows a semicolon.
const (
	keepParameters = false
	dropParameters = true
)

// canonical rewrites path segment by segment. The result starts with a slash
// and has neither dot segments nor empty segments, except that a trailing slash
// stays.
func canonical(path string, parameters bool) (string, bool) {
	out := make([]byte, 0, len(path)+8)
	segment := make([]byte, 0, 64)
	trailing := true
	for i := 0; i < len(path); {
		i++ // the slash
		next := i
		for next < len(path) && path[next] != '/' && path[next] != '\\' {
			next++
		}
		var ok bool
		if segment, ok = appendSegment(segment[:0], path[i:next], parameters); !ok {
			return "", false
		}
		trailing = false
		switch string(segment) {
		case "", ".":
			trailing = true
		case "..":
			out, trailing = parent(out), true
		default:
			out = append(append(out, '/'), segment...)
		}
		i = next
	}
	if trailing {
		out = append(out, '/')
	}
	return string(out), true
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

// appendSegment appends one segment with its escapes made uniform. False: it
// holds an encoded slash, backslash or NUL, or bytes that are no UTF-8.
func appendSegment(out []byte, segment string, parameters bool) ([]byte, bool) {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == ';' && parameters == dropParameters {
			return out, true
		}
		if c >= 0x80 {
			n := runeLength(segment[i:])
			if n == 0 {
				return nil, false
			}
			for ; n > 1; n, i = n-1, i+1 {
				out = appendEscaped(out, segment[i])
			}
			out = appendEscaped(out, segment[i])
			continue
		}
		switch classOf(c) {
		case percent:
			value, encoded := unhex(segment[i:])
			if !encoded {
				out = append(out, c)
				continue
			}
			k := classOf(value)
			if k == slash || k == forbidden {
				return nil, false
			}
			if value == ';' && parameters == dropParameters {
				return out, true
			}
			if k == unreserved {
				out = append(out, value)
			} else {
				out = append(out, segment[i:i+3]...)
			}
			i += 2
		case escape:
			out = appendEscaped(out, c)
		case forbidden:
			return nil, false
		default:
			out = append(out, c)
		}
	}
	return out, true
}

// hasParameters reports whether a canonical path has a semicolon, plain or
// encoded: some backends decode before they cut.
func hasParameters(path string) bool {
	for i := 0; i < len(path); i++ {
		if path[i] == ';' {
			return true
		}
		if value, ok := unhex(path[i:]); ok && value == ';' {
			return true
		}
	}
	return false
}

func appendEscaped(out []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(out, '%', digits[c>>4], digits[c&15])
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

// runeLength returns the length of the UTF-8 sequence s starts with, 0 if it
// starts with none.
func runeLength(s string) int {
	for _, r := range s {
		if r == '\uFFFD' && (len(s) < 3 || s[:3] != "\uFFFD") {
			return 0
		}
		return len(string(r))
	}
	return 0
}

// Authority reads a :authority or host value as it is compared: without port,
// without trailing dot, in lower case (smi-rules 47).
func Authority(value string) string {
	end := len(value)
	for i := len(value) - 1; i >= 0 && value[i] != ']'; i-- {
		if value[i] == ':' {
			end = i
			break
		}
		if value[i] < '0' || value[i] > '9' {
			break
		}
	}
	value = value[:end]
	if n := len(value); n > 0 && value[n-1] == '.' {
		value = value[:n-1]
	}
	return lower(value)
}

func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// trim drops spaces and tabs around a header value, as HTTP reads it.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
