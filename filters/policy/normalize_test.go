package policy_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// TestNormalize shows each step once; tests/normalize holds them all against
// the sidecar.
func TestNormalize(t *testing.T) {
	for raw, want := range map[string]policy.Path{
		"/":                  {Literal: "/", Stripped: "/"},
		"/a/b.c~d_e-f":       {Literal: "/a/b.c~d_e-f", Stripped: "/a/b.c~d_e-f"},
		"/a?b/../c":          {Literal: "/a", Stripped: "/a"},
		"/%61%2D%7e":         {Literal: "/a-~", Stripped: "/a-~"},
		"/a%2b%20":           {Literal: "/a%2b%20", Stripped: "/a%2b%20"},
		`/a<b>"|^{}`:         {Literal: "/a%3Cb%3E%22%7C%5E%7B%7D", Stripped: "/a%3Cb%3E%22%7C%5E%7B%7D"},
		"/a/./b/../c":        {Literal: "/a/c", Stripped: "/a/c"},
		"/a/%2e%2E/b":        {Literal: "/b", Stripped: "/b"},
		"/..":                {Literal: "/", Stripped: "/"},
		"/a/..":              {Literal: "/", Stripped: "/"},
		"/a/.":               {Literal: "/a/", Stripped: "/a/"},
		`/a\b\..\c`:          {Literal: "/a/c", Stripped: "/a/c"},
		"//a///b//":          {Literal: "/a/b/", Stripped: "/a/b/"},
		"/a//../b":           {Literal: "/a/b", Stripped: "/a/b"},
		"//":                 {Literal: "//", Stripped: "/"},
		"/a/..//":            {Literal: "//", Stripped: "/"},
		"/a/..;x/b":          {Literal: "/b", Stripped: "/b"},
		"/a/.;/b":            {Literal: "/a/b", Stripped: "/a/b"},
		"/a;x/b;y=z":         {Literal: "/a;x/b;y=z", Stripped: "/a/b"},
		"/a%3Bx/;b/c/;":      {Literal: "/a%3Bx/;b/c/;", Stripped: "/a/c/"},
		"/;":                 {Literal: "/;", Stripped: "/"},
		"/;/;":               {Literal: "/;/;", Stripped: "/"},
		"/a/%252e%252e/b":    {Literal: "/a/%252e%252e/b", Stripped: "/a/%252e%252e/b"},
		"/a/...;/b":          {Literal: "/a/...;/b", Stripped: "/a/.../b"},
		"/%C3%A9":            {Literal: "/%C3%A9", Stripped: "/%C3%A9"},
		"/a?%2f%zz":          {Literal: "/a", Stripped: "/a"},
		"/a/b?\\..\\;x%00/.": {Literal: "/a/b", Stripped: "/a/b"},
	} {
		if got, ok := policy.Normalize(raw); !ok || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", raw, got, ok, want)
		}
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "*", "a", "?", "%2f", `\a`, "http://a/b", "/a#b", "/a?b#c", "/a b", "/a\t", "/a\x00", "/a\r\n", "/a?\n", "/\x7f", "/\xff", "/é", "/a?é",
		"/a%2fb", "/a%2F", "/a%5c", "/a%5C..", "/a%00", "/%", "/%4", "/%4/", "/%zz", "/%u0061", "/a%",
		"/a/%2e%2e;/b", "/a/..%3b/b", "/a/.%3B", `/a\..;/b`, `/a/..;\b`, "/a/%2e;",
	} {
		if got, ok := policy.Normalize(raw); ok || got != (policy.Path{}) {
			t.Errorf("%q: got %+v, %v; want a refusal", raw, got, ok)
		}
	}
}

func TestAuthority(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "a": "a", "A.b": "a.b", "a:80": "a", "a.:80": "a", "a.": "a", "a..": "a.", "a:": "a", "a:b": "a:b",
		"[::1]:80": "[::1]", "[::1]": "[::1]", "[FE80::A]": "[fe80::a]", ":80": "", ".": "", "a:80:90": "a:80",
	} {
		if got := policy.Authority(value); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, raw := range []string{"/a/../b", "/a//../b", "//", "/a;x/..;/b", "/%2e%2e;/a", `/a\..\b?c`, "/%41%2f", "/a%3B/;%3b", "/.%3b", "/a/.;x"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, ok := policy.Normalize(raw)
		if !ok {
			if p != (policy.Path{}) {
				t.Fatalf("%q: refused, and yet %+v", raw, p)
			}
			return
		}
		for _, read := range []string{p.Literal, p.Stripped} {
			wellFormed(t, raw, read)
			if again, ok := policy.Normalize(read); !ok || again.Literal != read || again.Stripped != p.Stripped {
				t.Fatalf("%q: read as %+v, and that as %+v, %v", raw, p, again, ok)
			}
		}
		if i := strings.IndexAny(p.Stripped, ";"); i >= 0 || strings.Contains(strings.ToLower(p.Stripped), "%3b") {
			t.Fatalf("%q: stripped to %q", raw, p.Stripped)
		}
	})
}

// wellFormed holds for both readings. A path of slashes alone is left as two of
// them by the sidecar.
func wellFormed(t *testing.T, raw, read string) {
	t.Helper()
	if !strings.HasPrefix(read, "/") || strings.Contains(read, "//") && read != "//" {
		t.Fatalf("%q: read as %q", raw, read)
	}
	for segment := range strings.SplitSeq(read, "/") {
		if segment == "." || segment == ".." {
			t.Fatalf("%q: read as %q, with a dot segment", raw, read)
		}
	}
	for i := range len(read) {
		if c := read[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`\?#"<>^{|}`+"`", c) >= 0 {
			t.Fatalf("%q: read as %q, with %q", raw, read, c)
		}
	}
}
