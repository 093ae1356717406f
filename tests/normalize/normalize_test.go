package normalize

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// exception is a shape that Normalize refuses although Envoy forwards it. It
// widens nothing. Each must be met by the tests, or it is one too many.
type exception struct {
	name   string
	reason string
	shape  *regexp.Regexp
	met    int
}

func exceptions() []*exception {
	return []*exception{
		{
			name:   "malformed escape",
			reason: "applications read %zz, %u0061 and a last % each in their own way; most answer 400 themselves",
			shape:  regexp.MustCompile(`(?s)^[^?]*%([^0-9a-fA-F]|[0-9a-fA-F][^0-9a-fA-F]|[0-9a-fA-F]?(\?|$))`),
		},
		{
			name: "disguised dot segment with parameters",
			reason: "Envoy resolves /..;x/ only where neither escapes nor backslashes hide it; otherwise it " +
				"forwards what a second Envoy, or a servlet container, resolves",
			shape: regexp.MustCompile(`(?i)^[^?]*([/\\](%2e\.?|\.%2e|%2e%2e)(;|%3b)|[/\\]\.\.?%3b|\\\.\.?;|/\.\.?;[^/?]*(\\|%00))`),
		},
		{
			name:   "raw bytes beyond ASCII",
			reason: "no URI has them; over HTTP/1 Envoy answers 400 itself, over HTTP/2 it escapes them",
			shape:  regexp.MustCompile(`[^\x00-\x7f]`),
		},
	}
}

// sender sends a request target and says what became of it.
type sender interface {
	get(target string) (answer, error)
	close()
}

// judge compares what Envoy did with what Normalize says.
type judge struct {
	envoy      sender
	exceptions []*exception
	// resets: a refusal may be a stream that is reset.
	resets bool

	forwarded, refused, failures int
}

// maxFailures keeps the report of a wrong rule readable.
const maxFailures = 20

func (j *judge) targets(t *testing.T, targets []string) {
	t.Helper()
	for _, target := range targets {
		got := j.target(t, target)
		if !got.Forwarded || got.Target == target {
			continue
		}
		// A request passes two sidecars: what the first sends on, the second must
		// not change.
		if again := j.send(t, got.Target); again != got && !j.excepted(target) {
			j.fail(t, "%.200q: forwarded as %.200q, and that as %.200q (%d)", target, got.Target, again.Target, again.Status)
		}
	}
}

func (j *judge) target(t *testing.T, target string) answer {
	t.Helper()
	got := j.send(t, target)
	want, ok := policy.Normalize(target)
	refused := !got.Forwarded && (got.Status >= 400 && got.Status < 500 || j.resets && got.Status == 0)
	path, query, queried := strings.Cut(got.Target, "?")
	_, wantQuery, wantQueried := strings.Cut(target, "?")
	switch {
	case ok && got.Forwarded && path == want.Literal && query == wantQuery && queried == wantQueried:
	case !ok && refused:
	case !ok && got.Forwarded && j.excepted(target):
	default:
		j.fail(t, "%.200q: Envoy %d, forwarded=%v %.200q; Normalize %v %.200q", target, got.Status, got.Forwarded, got.Target, ok, want.Literal)
	}
	if got.Forwarded {
		j.forwarded++
	} else {
		j.refused++
	}
	return got
}

func (j *judge) send(t *testing.T, target string) answer {
	t.Helper()
	got, err := j.envoy.get(target)
	if err != nil {
		t.Fatalf("%.200q: %v", target, err)
	}
	return got
}

func (j *judge) excepted(target string) bool {
	for _, e := range j.exceptions {
		if e.shape.MatchString(target) {
			e.met++
			return true
		}
	}
	return false
}

func (j *judge) fail(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Errorf(format, args...)
	if j.failures++; j.failures == maxFailures {
		t.Fatal("too many differences; the rest is not looked at")
	}
}

// TestEnvoyReadsPathsAlike is the differential test: what Normalize accepts,
// Envoy forwards as Normalize's literal reading; what it refuses, no
// application sees, but for the exceptions.
func TestEnvoyReadsPathsAlike(t *testing.T) {
	app := startApplication(t)
	address := startEnvoy(t, app.port())
	known := exceptions()
	for _, protocol := range []struct {
		name    string
		envoy   sender
		sends   func(target string) bool
		longest int
		random  []string
	}{
		{"http1", &client{address: address}, endsInText, 50_000, random(1, 20_000)},
		// One frame has 16 KiB, and half of it has to be enough for any encoding.
		{"http2", &http2Client{address: address}, isPath, 8000, random(2, 5000)},
	} {
		defer protocol.envoy.close()
		for _, corpus := range []struct {
			name    string
			targets []string
		}{
			{"shapes", shapes()}, {"bytes", everyByte()}, {"long", long(protocol.longest)}, {"random", protocol.random},
		} {
			t.Run(protocol.name+"/"+corpus.name, func(t *testing.T) {
				j := &judge{envoy: protocol.envoy, exceptions: known, resets: protocol.name == "http2"}
				j.targets(t, slices.DeleteFunc(corpus.targets, func(s string) bool { return !protocol.sends(s) }))
				t.Logf("%d forwarded, %d refused", j.forwarded, j.refused)
				if j.forwarded == 0 || j.refused == 0 && corpus.name != "long" {
					t.Error("only one outcome was met: the corpus proves nothing")
				}
			})
		}
	}
	for _, e := range known {
		t.Logf("exception %q met %d times: %s", e.name, e.met, e.reason)
		if e.met == 0 {
			t.Errorf("exception %q was not met; take it off the list", e.name)
		}
	}
}

// endsInText leaves out what HTTP/1 cannot say: white space at the end belongs
// to the request line, not to the target.
func endsInText(target string) bool { return strings.TrimRight(target, " \t\r\n") == target }

// isPath leaves out what HTTP/2 forbids in a :path: Envoy closes the connection,
// and takes a second for it. TestForbiddenInHTTP2 sends some.
func isPath(target string) bool {
	return strings.HasPrefix(target, "/") && strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}

func TestForbiddenInHTTP2(t *testing.T) {
	app := startApplication(t)
	j := &judge{envoy: &http2Client{address: startEnvoy(t, app.port())}, resets: true}
	defer j.envoy.close()
	forbidden := []string{"/a\x00", "/a\nb", "/a b", "a"}
	for _, target := range forbidden {
		j.target(t, target)
	}
	if seen := app.served.Load(); j.refused != len(forbidden) || seen != 0 {
		t.Errorf("%d of %d refused; the application saw %d", j.refused, len(forbidden), seen)
	}
}

// TestAbsoluteForm: Envoy takes the authority and the :path out of an absolute
// target; Normalize then reads that :path.
func TestAbsoluteForm(t *testing.T) {
	app := startApplication(t)
	c := &client{address: startEnvoy(t, app.port())}
	defer c.close()
	for target, path := range map[string]string{
		"http://b":                  "/",
		"http://b/":                 "/",
		"http://b/admin":            "/admin",
		"http://b/a/../c?x":         "/a/../c?x",
		"http://b//a//%2e%2e//c":    "//a//%2e%2e//c",
		"http://b:80/%61":           "/%61",
		"http://b/a%2fb":            "/a%2fb",
		"http://b/a#c":              "/a#c",
		"http://b/a/..;/http://c/d": "/a/..;/http://c/d",
	} {
		got, err := c.get(target)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		want, ok := policy.Normalize(path)
		literal, _, _ := strings.Cut(got.Target, "?")
		if got.Forwarded != ok || literal != want.Literal {
			t.Errorf("%q: Envoy %d, forwarded=%v %q; Normalize(%q) %v %q", target, got.Status, got.Forwarded, got.Target, path, ok, want.Literal)
		}
		if _, ok := policy.Normalize(target); ok {
			t.Errorf("%q is no path, and Normalize reads it as one", target)
		}
	}
}

// TestRefusedTargetsReachNobody counts at the application: an answer of the
// proxy's own does not prove that nothing was sent on.
func TestRefusedTargetsReachNobody(t *testing.T) {
	app := startApplication(t)
	c := &client{address: startEnvoy(t, app.port())}
	defer c.close()
	var forwarded int64
	for _, target := range append(shapes(), "", "https://b/x", "http://b\\c", "http://", "b:80", "/a /b", "/a\r\nx: y", "/a\nb", "/a\tb") {
		got, err := c.get(target)
		if err != nil {
			t.Fatalf("%q: %v", target, err)
		}
		if got.Forwarded {
			forwarded++
		}
	}
	if seen := app.served.Load(); seen != forwarded || forwarded == 0 {
		t.Errorf("the application saw %d requests, the client got %d answers of it", seen, forwarded)
	}
}
