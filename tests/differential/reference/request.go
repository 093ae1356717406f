package reference

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Request is one request at the workloads of an account.
type Request struct {
	To   Account
	Peer string
	Port int
	// Readings are all that backends may take the path for; the path clause has to
	// hold for each (38). None: the path cannot be read in one way.
	Readings []string
	Method   string
	// Headers are in lower case, pseudo headers included.
	Headers []Header
}

// Header is one header line.
type Header struct{ Name, Value string }

// Clause is what kept a request from passing, in finer steps than a reason.
type Clause string

// The clauses, in the order in which they are looked at.
const (
	Reject       Clause = "reject"
	Nobody       Clause = "policy"
	Source       Clause = "source"
	Port         Clause = "port"
	Path         Clause = "path"
	Parameters   Clause = "path: without parameters"
	Method       Clause = "method"
	HeaderAbsent Clause = "header: absent"
	HeaderValue  Clause = "header: the only value"
	HeaderOther  Clause = "header: one of several values"
	Host         Clause = "header: host"
)

// Clauses are all, in that order.
func Clauses() []Clause {
	return []Clause{Reject, Nobody, Source, Port, Path, Parameters, Method, HeaderAbsent, HeaderValue, HeaderOther, Host}
}

// Reason is the clause as the product names it.
func (c Clause) Reason() string {
	word, _, _ := strings.Cut(string(c), ":")
	return word
}

// depth is the same for clauses of one reason.
func (c Clause) depth() int {
	for i, reason := range []string{"reject", "policy", "source", "port", "path", "method", "header"} {
		if c.Reason() == reason {
			return i
		}
	}
	return -1
}

// Answer is what becomes of a request.
type Answer struct {
	// By are the targets that allow it; none denies it.
	By []string
	// Clause is the furthest that failed where nothing allows.
	Clause Clause
}

// Answer tries every grant (5, 6: a union).
func (p *Policy) Answer(r Request) Answer {
	a := Answer{Clause: Nobody}
	if len(r.Readings) == 0 {
		return Answer{Clause: Reject}
	}
	for _, g := range p.Grants {
		if g.To != r.To || len(g.Matches) == 0 { // 1, 11, 16
			continue
		}
		failed := g.failed(r)
		if failed == "" {
			a.By = append(a.By, g.Name)
		} else if failed.depth() > a.Clause.depth() {
			a.Clause = failed
		}
	}
	return a
}

// AllowsConnection answers for a port whose bytes are not HTTP: the source and
// the port have to agree, and the target must speak of ports at all (24 to 26).
func (p *Policy) AllowsConnection(peer string, to Account, port int) bool {
	for _, g := range p.Grants {
		if g.To == to && g.Connections && g.from(peer) && g.at(port) {
			return true
		}
	}
	return false
}

// failed is the furthest clause of a grant that does not hold; empty: it allows.
func (g Grant) failed(r Request) Clause {
	if !g.from(r.Peer) { // 7, 9, 10
		return Source
	}
	if !g.at(r.Port) { // 23, 29
		return Port
	}
	furthest := Port
	for _, m := range g.Matches { // 44
		failed := m.failed(r)
		if failed == "" {
			return ""
		}
		if failed.depth() > furthest.depth() {
			furthest = failed
		}
	}
	return furthest
}

func (g Grant) from(peer string) bool {
	for _, source := range g.Sources {
		if source == peer {
			return true
		}
	}
	return false
}

func (g Grant) at(port int) bool {
	for _, p := range g.Ports {
		if p == port {
			return true
		}
	}
	return g.EveryPort
}

func (m Match) failed(r Request) Clause {
	for i, reading := range r.Readings {
		switch {
		case m.path == nil, m.full && whole(m.path, reading), !m.full && fromStart(m.path, reading):
		case i > 0:
			return Parameters
		default:
			return Path
		}
	}
	granted := len(m.Methods) == 0
	for _, method := range m.Methods { // 42
		granted = granted || method == r.Method
	}
	if !granted {
		return Method
	}
	for name, value := range m.values { // 43
		if failed := condition(strings.ToLower(name), value, r.Headers); failed != "" {
			return failed
		}
	}
	return ""
}

// condition wants the header there, and every value of it granted (46, 47).
func condition(name string, value *regexp.Regexp, headers []Header) Clause {
	count, bad := 0, 0
	for _, h := range headers {
		text := strings.Trim(h.Value, " \t")
		switch {
		case name == "host" && (h.Name == "host" || h.Name == ":authority"):
			text = host(text)
		case h.Name != name:
			continue
		}
		count++
		// What is not UTF-8 is no text, and no expression describes it.
		if !utf8.ValidString(text) || !whole(value, text) {
			bad++
		}
	}
	switch {
	case count > 0 && bad == 0:
		return ""
	case name == "host":
		return Host
	case count == 0:
		return HeaderAbsent
	case count == 1:
		return HeaderValue
	}
	return HeaderOther
}

var port = regexp.MustCompile(`:[0-9]*$`)

// host is an authority without port and final dot, in lower case (47): that of
// ASCII, as host names know no other.
func host(authority string) string {
	lower := func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	name := strings.TrimSuffix(port.ReplaceAllString(authority, ""), ".")
	if !utf8.ValidString(name) {
		return name // is not granted anyway, and must not be mended here
	}
	return strings.Map(lower, name)
}
