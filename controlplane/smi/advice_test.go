package smi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Patterns that match no path, with what the warning says of them.
var neverPaths = map[string]string{
	`books$`:            "a path begins with a slash",
	`^(https://x/)$`:    "a path begins with a slash",
	`//$`:               "repeated slashes are joined",
	`/a//b$`:            "repeated slashes are joined",
	`/a/\./b$`:          "dot segments are resolved",
	`/a/\.\./b$`:        "dot segments are resolved",
	`/a\?x=1$`:          "the query is not part of the path",
	`/a#b$`:             "requests with a fragment are refused",
	`/a\\b$`:            "backslashes become slashes",
	`/books;v=1$`:       "without its parameters too",
	`/books%3bv=1$`:     "requests with %3b in their path are refused, or read without it",
	`/a%2fb$`:           "requests with %2f in their path are refused",
	`(?i)/a%2Fb$`:       "requests with %2F in their path are refused",
	`/%41$`:             "%41 is decoded before paths are compared",
	`/a b$`:             "' ' is encoded in a path",
	`/{id}$`:            "'{' is encoded in a path",
	`/[|^]$`:            "encoded in a path",
	`/über$`:            "'ü' is encoded in a path",
	`/(a<|b>)c$`:        "encoded in a path",
	`/x("y")+$`:         `'"' is encoded in a path`,
	`/x(?:"y"){2,3}.*$`: `'"' is encoded in a path`,
}

// Patterns that match some path, with one.
var somePaths = map[string]string{
	`/a(//)?b$`:            "/ab",
	`/(a b|c)$`:            "/c",
	`/a%20b$`:              "/a%20b",
	`/%7[Bb]x$`:            "/{x",
	`/[^/]+$`:              "/x",
	`/x(;.*)?$`:            "/x;y",
	`(?:/a|/b)$`:           "/b",
	`.*/x$`:                "/a/x",
	`^/a/..$`:              "/a/bc",
	`/a("x"){0,2}$`:        "/a",
	`/[a{}]$`:              "/a",
	`/$`:                   "/",
	`/~u/!\$&'\(\)\+,:@=$`: "/~u/!$&'()+,:@=",
	`/a{2}$`:               "/aa",
}

func TestConditionsThatNeverMatch(t *testing.T) {
	for expr, why := range neverPaths {
		if got := adviceOn(t, fmt.Sprintf("{name: m, pathRegex: %s}", quote(expr))); len(got) != 1 || !strings.Contains(got[0], "matches no path: ") || !strings.Contains(got[0], why) {
			t.Errorf("%s: got %q, want one about %q", expr, got, why)
		}
	}
	for expr, path := range somePaths {
		a, err := pattern.Path(expr)
		if err != nil {
			t.Fatal(err)
		}
		if read, ok := policy.Normalize(path); !ok || !a.Match(read.Literal) || !a.Match(read.Stripped) {
			t.Errorf("%s does not match %s, so the test is wrong", expr, path)
		}
		for _, line := range adviceOn(t, fmt.Sprintf("{name: m, pathRegex: %s}", quote(expr))) {
			if strings.Contains(line, "matches no path") {
				t.Errorf("%s matches %s, and the advice is %q", expr, path, line)
			}
		}
	}
}

func TestHostsThatNeverMatch(t *testing.T) {
	for expr, never := range map[string]bool{
		`Books\.example`: true, `books\.example:8080`: true, `books\.example:\d+`: true, `[A-Z]+\.example`: true, `(a|b):80`: true,
		`books\.example`: false, `(?i)Books\.example`: false, `books\.example(:8080)?`: false, `\[::1\]`: false, `.*\.example`: false,
		`(Books|books)\.example`: false, `books\.(example|test)`: false,
	} {
		got := adviceOn(t, fmt.Sprintf("{name: m, headers: [{Host: %s}]}", quote(expr)))
		if never != (len(got) == 1 && strings.Contains(got[0], "spec.matches[0].headers[Host]: ") && strings.Contains(got[0], "matches no host")) || !never && len(got) > 0 {
			t.Errorf("%s: got %q, never: %v", expr, got, never)
		}
	}
}

func TestHeadersOfTheSidecar(t *testing.T) {
	for name, theirs := range map[string]bool{
		"X-Forwarded-Proto": true, "x-envoy-retry-on": true, "connection": true, "upgrade": true,
		"x-forwarded-for": false, "user-agent": false, "content-type": false,
	} {
		got := adviceOn(t, fmt.Sprintf("{name: m, headers: [{%s: x}]}", name))
		if theirs != (len(got) == 1 && strings.Contains(got[0], "sidecars set or remove "+strings.ToLower(name))) || !theirs && len(got) > 0 {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// A target of which nothing is left is told as a whole, whatever its parts lack.
func TestTargetsThatGrantNothing(t *testing.T) {
	const whole = "warning TrafficTarget store/t: the target as a whole grants nothing"
	for name, with := range map[string]string{
		"a match that is broken": group("{name: a, pathRegex: '('}"),
		"no such group":          target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: none}]"),
		"nobody":                 target("t", toStore, "rules: [{kind: HTTPRouteGroup, name: books}]"),
		"no such destination":    target("t", "destination: {kind: ServiceAccount, name: nobody}", byReader, "rules: [{kind: HTTPRouteGroup, name: books}]"),
	} {
		t.Run(name, func(t *testing.T) { wantProblems(t, advice(objects(t, shop+with), settings), whole) })
	}
	t.Run("one match is left", func(t *testing.T) {
		wantProblems(t, advice(objects(t, shop+group("{name: a, pathRegex: '('}", "{name: b, pathRegex: /b$}")), settings))
	})
}

// A destination whose patterns cannot be merged is named; others are not.
func TestPatternsThatAreSlowTogether(t *testing.T) {
	rules := target("t", toStore, byReader, "rules: [{kind: HTTPRouteGroup, name: books}]")
	var words, plain []string
	for i := range 24 {
		words = append(words, fmt.Sprintf("{name: m%d, pathRegex: '/.*w%dq.*x%dy$'}", i, i, i))
		plain = append(plain, fmt.Sprintf("{name: m%d, pathRegex: '/shop-%d/[^/]+/[0-9]+$'}", i, i))
	}
	wantProblems(t, advice(objects(t, shop+rules+group(words...)), settings),
		"warning ServiceAccount store/store: the 28 path patterns granted here are too large together for one automaton, so every path is read ")
	wantProblems(t, advice(objects(t, shop+rules+group(plain...)), settings))
}

func adviceOn(t *testing.T, match string) []string {
	t.Helper()
	var out []string
	for _, p := range advice(objects(t, group(match)), settings) {
		if p.Object.Kind == smi.KindHTTPRouteGroup {
			out = append(out, p.String())
		}
	}
	return out
}

// quote writes a text as YAML does.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// advice is what check has: the snapshot is made already.
func advice(o smi.Objects, settings smi.Settings) []mesh.Problem {
	made, _ := smi.Snapshot(o, settings)
	return smi.Advice(o, settings, made)
}
