package reference

import (
	"regexp"
	"strings"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
)

// Match is one match of a group: all conditions must hold (45). The zero Match
// is any request (48).
type Match struct {
	// Path is an expression; empty is any path (40).
	Path string
	// Methods are those granted; none is any (41).
	Methods []string
	// Headers are expressions by name as written (43).
	Headers map[string]string

	path   *regexp.Regexp
	full   bool
	values map[string]*regexp.Regexp
}

// longest is the longest expression that is compiled, in bytes (39).
const longest = 1024

// token is a method or a header name (RFC 9110, 5.6.2).
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// selected are the matches that a rule speaks of (19, 20).
func (o Objects) selected(namespace string, rule access.TrafficTargetRule) []Match {
	var out []Match
	for _, group := range o.Groups {
		if group.Namespace != namespace || group.Name != rule.Name {
			continue
		}
		for i, match := range group.Spec.Matches {
			if replaced(group.Spec.Matches[i+1:], match.Name) {
				continue
			}
			if len(rule.Matches) > 0 && !named(rule.Matches, match.Name) {
				continue
			}
			if m, ok := o.match(match); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

// replaced says whether a later match has the name (51).
func replaced(later []specs.HTTPMatch, name string) bool {
	for _, match := range later {
		if name != "" && match.Name == name {
			return true
		}
	}
	return false
}

func named(names []string, name string) bool {
	for _, n := range names {
		if name != "" && n == name {
			return true
		}
	}
	return false
}

// match reads one match; what cannot be read grants nothing (39).
func (o Objects) match(m specs.HTTPMatch) (Match, bool) {
	out := Match{Path: m.PathRegex, full: o.PathFull, Headers: m.Headers, values: map[string]*regexp.Regexp{}}
	var ok bool
	if m.PathRegex != "" {
		if out.path, ok = expression(m.PathRegex); !ok {
			return out, false
		}
	}
	if out.Methods, ok = methods(m.Methods); !ok {
		return out, false
	}
	for name, expr := range m.Headers {
		// Sidecars refuse requests that have a header with an underscore.
		if !token.MatchString(name) || strings.Contains(name, "_") {
			return out, false
		}
		if out.values[name], ok = expression(expr); !ok {
			return out, false
		}
	}
	return out, true
}

// methods returns none for any (41), else the list; false if one is not an
// upper-case method (42).
func methods(list []string) ([]string, bool) {
	for _, m := range list {
		if m == "*" {
			return nil, true
		}
	}
	for _, m := range list {
		if !token.MatchString(m) || strings.ToUpper(m) != m {
			return nil, false
		}
	}
	return list, true
}

// expression compiles without a wrapper, which would give "a)|(b" a meaning.
func expression(expr string) (*regexp.Regexp, bool) {
	re, err := regexp.Compile(expr)
	if err != nil || len(expr) > longest {
		return nil, false
	}
	re.Longest()
	return re, true
}

// fromStart says whether a match begins where the text does (36): the leftmost
// one begins there if any does.
func fromStart(re *regexp.Regexp, text string) bool {
	at := re.FindStringIndex(text)
	return at != nil && at[0] == 0
}

// whole says whether the expression describes the whole text (46): the longest
// match at the start is all of it if any is.
func whole(re *regexp.Regexp, text string) bool {
	at := re.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}
