package smi

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// neverAPath says why an expression matches no path that is ever compared, if it
// finds out. Paths are compared as policy.Normalize leaves them: some characters
// are encoded by then, and some requests have been refused.
func neverAPath(expr string) (why, try string, never bool) {
	tree := parsed(expr)
	if first := firstLiteral(tree); first != "" && first[0] != '/' {
		return "a path begins with a slash", "Begin it with one.", true
	}
	literal, found := demanded(tree, impossibleInPath)
	if !found {
		return "", "", false
	}
	why, try = whyNotInPath(literal)
	return why, try, true
}

// impossibleInPath reports whether a text that stands in a pattern as it is can
// be in no path that is compared. One character alone is judged by policy's own
// reading of it.
func impossibleInPath(literal string) bool {
	for _, part := range []string{"//", "/./", "/../"} {
		if strings.Contains(literal, part) {
			return true
		}
	}
	for i, c := range literal {
		if c == '%' && len(literal) >= i+3 {
			if !survives("/"+literal[i:i+3], "/"+literal[i:i+3]) {
				return true
			}
		} else if c != '%' && c != '/' && !survives("/a"+string(c)+"a", "/a"+string(c)+"a") {
			return true
		}
	}
	return false
}

// survives reports whether a path is read as it is written, in both readings.
func survives(raw, want string) bool {
	path, ok := policy.Normalize(raw)
	return ok && path.Literal == want && path.Stripped == want
}

// whyNotInPath explains the first thing in a literal that no path has.
func whyNotInPath(literal string) (why, try string) {
	for i := range literal {
		rest := literal[i:]
		r := []rune(rest)[0]
		switch {
		case strings.HasPrefix(rest, "//"):
			return "repeated slashes are joined before paths are compared", "Write one slash."
		case strings.HasPrefix(rest, "/./"), strings.HasPrefix(rest, "/../"):
			return "dot segments are resolved before paths are compared", "Write the path without them."
		case r == '?':
			return "the query is not part of the path", "Leave out the question mark and what follows it."
		case r == '#':
			return "requests with a fragment are refused", "Leave it out."
		case r == ';':
			return "a path has to match without its parameters too", "Leave out the semicolon, or make what begins with it optional: (;.*)?"
		case r == '\\':
			return "backslashes become slashes before paths are compared", "Write a slash."
		case r == '%' && len(rest) >= 3 && !survives("/"+rest[:3], "/"+rest[:3]):
			if path, ok := policy.Normalize("/" + rest[:3]); ok && path.Literal == path.Stripped {
				return fmt.Sprintf("%s is decoded before paths are compared", rest[:3]), fmt.Sprintf("Write %s.", path.Literal[1:])
			}
			return fmt.Sprintf("requests with %s in their path are refused, or read without it", rest[:3]), "Leave it out."
		case r != '%' && r != '/' && !survives("/a"+string(r)+"a", "/a"+string(r)+"a"):
			return fmt.Sprintf("%q is encoded in a path", r), fmt.Sprintf("Write it encoded: %s.", encoded(r))
		}
	}
	return "no path contains " + literal, "Leave it out."
}

func encoded(r rune) string {
	var b strings.Builder
	for _, c := range []byte(string(r)) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// demanded finds a literal that every match of the expression contains and that
// is impossible; where there are alternatives, each must demand one.
func demanded(tree *syntax.Regexp, impossible func(string) bool) (literal string, found bool) {
	switch tree.Op {
	case syntax.OpLiteral:
		text := string(tree.Rune)
		folded := tree.Flags&syntax.FoldCase != 0
		return text, impossible(text) && (!folded || impossible(strings.ToLower(text)) && impossible(strings.ToUpper(text)))
	case syntax.OpCharClass:
		return demandedClass(tree.Rune, impossible)
	case syntax.OpConcat:
		for _, sub := range tree.Sub {
			if literal, found = demanded(sub, impossible); found {
				return literal, true
			}
		}
	case syntax.OpAlternate:
		for _, sub := range tree.Sub {
			if literal, found = demanded(sub, impossible); !found {
				return "", false
			}
		}
		return literal, true
	case syntax.OpCapture, syntax.OpPlus:
		return demanded(tree.Sub[0], impossible)
	case syntax.OpRepeat:
		if tree.Min > 0 {
			return demanded(tree.Sub[0], impossible)
		}
	}
	return "", false
}

// demandedClass looks at small classes only: a large one has something possible.
func demandedClass(ranges []rune, impossible func(string) bool) (literal string, found bool) {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i+1]-ranges[i] > unicode.MaxASCII {
			return "", false
		}
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if literal = string(r); !impossible(literal) {
				return "", false
			}
		}
	}
	return literal, literal != ""
}

// firstLiteral returns what every match begins with, "" where that is not plain
// to see.
func firstLiteral(tree *syntax.Regexp) string {
	switch tree.Op {
	case syntax.OpLiteral:
		return string(tree.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return firstLiteral(tree.Sub[0])
	case syntax.OpConcat:
		for _, sub := range tree.Sub {
			if sub.Op != syntax.OpBeginText && sub.Op != syntax.OpBeginLine {
				return firstLiteral(sub)
			}
		}
	}
	return ""
}

// adviseOnHeader speaks of a header whose value the policy never sees as the
// caller sent it.
func adviseOnHeader(name, expr string) (mesh.Problem, bool) {
	switch name = strings.ToLower(name); {
	case name == "host":
		if literal, never := demanded(parsed(expr), impossibleInHost); never {
			return mesh.Problem{
				Cause: fmt.Sprintf("%q matches no host: hosts are compared in lower case and without a port, and it wants %q; the match grants nothing.", expr, literal),
				Try:   "Write the name alone, in lower case.",
			}, true
		}
	case setBySidecar(name):
		return mesh.Problem{
			Cause: fmt.Sprintf("sidecars set or remove %s, so the policy never sees what the caller sent.", name),
			Try:   "Use a header that belongs to the application.",
		}, true
	}
	return mesh.Problem{}, false
}

// impossibleInHost reports whether policy.Authority leaves no such text in a
// host. A colon with digits is a port unless it stands in an IPv6 address.
func impossibleInHost(literal string) bool {
	if strings.ContainsAny(literal, "[]") {
		return literal != strings.ToLower(literal)
	}
	return literal != policy.Authority(literal) && literal != "." && !strings.HasSuffix(literal, ".")
}

// setBySidecar lists what Envoy's connection manager, as package xds sets it up,
// writes or drops itself, and what belongs to one connection only.
func setBySidecar(name string) bool {
	switch name {
	case "x-forwarded-proto", "x-forwarded-client-cert",
		"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-")
}
