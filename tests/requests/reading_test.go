package requests

import (
	"strings"
	"testing"
)

// kind is a way in which applications read the path of a request.
type kind struct {
	name string
	port uint16
	// h2: it speaks HTTP/2, and its sidecar with it.
	h2 bool
	// read returns the resource that such an application serves for a target.
	read func(target string) string
}

// kinds are written without a look at the mesh's own reading: the mesh has to
// get along with what is out there.
func kinds() []kind {
	return []kind{
		{"literal", 8081, false, readLiterally},
		{"rfc3986", 8082, false, readLeniently},
		{"servlet", 8083, false, readAsServlet},
		{"http2", 8084, true, readLeniently},
	}
}

// readLiterally acts on the bytes before the query.
func readLiterally(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// readLeniently decodes everything once, takes a backslash for a slash, merges
// slashes and resolves dot segments.
func readLeniently(target string) string {
	path, _, _ := strings.Cut(readLiterally(target), "#")
	return resolved(strings.Split(strings.ReplaceAll(decoded(path), `\`, "/"), "/"))
}

// readAsServlet drops the parameters of every segment, decodes, and resolves
// dot segments, in this order.
func readAsServlet(target string) string {
	segments := strings.Split(readLiterally(target), "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		segments[i] = decoded(s)
	}
	return resolved(strings.Split(strings.Join(segments, "/"), "/"))
}

func resolved(segments []string) string {
	var out []string
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

// decoded replaces each percent-encoding by its byte; what is malformed stays.
func decoded(s string) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hex := strings.ToLower(s[i+1 : i+3])
			high, low := strings.IndexByte(digits, hex[0]), strings.IndexByte(digits, hex[1])
			if high >= 0 && low >= 0 {
				out.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// isPublic reports whether a resource is one that the policy grants.
func isPublic(resource string) bool {
	return resource == "/public" || strings.HasPrefix(resource, "/public/")
}

// TestReadings: the applications must be as gullible as those out there, or the
// corpus would prove nothing.
func TestReadings(t *testing.T) {
	for _, c := range []struct{ target, literal, rfc3986, servlet string }{
		{"/public", "/public", "/public", "/public"},
		{"/public?/../admin", "/public", "/public", "/public"},
		{"/public/../admin", "/public/../admin", "/admin", "/admin"},
		{"//admin", "//admin", "/admin", "/admin"},
		{"/public/%2e%2E/admin", "/public/%2e%2E/admin", "/admin", "/admin"},
		{"/public%2f..%2fadmin", "/public%2f..%2fadmin", "/admin", "/admin"},
		{`/public\..\admin`, `/public\..\admin`, "/admin", `/public\..\admin`},
		{"/public/..%5cadmin", "/public/..%5cadmin", "/admin", `/public/..\admin`},
		{"/public/..;/admin", "/public/..;/admin", "/public/..;/admin", "/admin"},
		{"/public/..;a=b/admin;c", "/public/..;a=b/admin;c", "/public/..;a=b/admin;c", "/admin"},
		{"/;x/admin", "/;x/admin", "/;x/admin", "/admin"},
		{"/public/..%3b/admin", "/public/..%3b/admin", "/public/..;/admin", "/public/..;/admin"},
		{"/admin#x", "/admin#x", "/admin", "/admin#x"},
		{"/public/%252e%252e/admin", "/public/%252e%252e/admin", "/public/%2e%2e/admin", "/public/%2e%2e/admin"},
		{"/%61dmin%zz%", "/%61dmin%zz%", "/admin%zz%", "/admin%zz%"},
		{"/../../admin", "/../../admin", "/admin", "/admin"},
	} {
		for i, want := range []string{c.literal, c.rfc3986, c.servlet} {
			if k := kinds()[i]; k.read(c.target) != want {
				t.Errorf("%s reads %q as %q, want %q", k.name, c.target, k.read(c.target), want)
			}
		}
	}
}
