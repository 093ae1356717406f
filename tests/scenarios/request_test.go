package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// request is one line of a scenario:
//
//	caller -> service:port  METHOD  target  {'name: value'}  verdict
//
// Words are separated by blanks. A header stands in single quotes, in which ”
// is one quote; headers are sent in the order and as often as they stand there.
// Empty lines and lines that begin with # say nothing.
type request struct {
	at      string // file:line
	text    string
	from    string // a workload
	to      string // a service
	port    uint16
	method  string
	target  string
	headers []policy.Header // names as written
	want    verdict
}

// verdict is what a scenario expects and what a judge says.
type verdict struct {
	outcome outcome
	// detail is the rule that allowed, as "namespace/name", or the reason of the
	// denial; empty for a rejection, and where a judge cannot know.
	detail string
}

type outcome string

const (
	allow  outcome = "allow"
	deny   outcome = "deny"
	reject outcome = "reject"
)

func (v verdict) String() string {
	if v.outcome == allow && v.detail != "" {
		return "allow rule=" + v.detail
	}
	return strings.TrimSpace(string(v.outcome) + " " + v.detail)
}

// reasons are those that a policy can give.
var reasons = []policy.Reason{
	policy.ReasonSource, policy.ReasonPort, policy.ReasonPath, policy.ReasonMethod, policy.ReasonHeader, policy.ReasonPolicy,
}

// host is the Host header of a request: that of the line, or what an application
// that knows the service by name would send.
func (r request) host() string {
	for _, h := range r.headers {
		if strings.EqualFold(h.Name, "host") {
			return h.Value
		}
	}
	return r.to + "." + serverNamespace + ":" + strconv.Itoa(int(r.port))
}

// others are the headers without Host.
func (r request) others() []policy.Header {
	return slices.DeleteFunc(slices.Clone(r.headers), func(h policy.Header) bool { return strings.EqualFold(h.Name, "host") })
}

// parseRequests reads the lines of a part that begins at a line of a file.
func parseRequests(file string, first int, text string) ([]request, error) {
	var all []request
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := parseRequest(line)
		r.at, r.text = fmt.Sprintf("%s:%d", file, first+i), line
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.at, err)
		}
		all = append(all, r)
	}
	return all, nil
}

const requestForm = `a request is: caller -> service:port METHOD target ['name: value' ...] verdict`

func parseRequest(line string) (request, error) {
	var r request
	words, err := split(line)
	if err != nil {
		return r, err
	}
	if len(words) < 6 || words[1].text != "->" {
		return r, fmt.Errorf("%q is too short; %s", line, requestForm)
	}
	for _, w := range words[:5] {
		if w.quoted {
			return r, fmt.Errorf("'%s' stands in quotes, where only headers do; %s", w.text, requestForm)
		}
	}
	r.from, r.method, r.target = words[0].text, words[3].text, words[4].text
	to, port, ok := strings.Cut(words[2].text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || n == 0 {
		return r, fmt.Errorf("%q is not service:port", words[2].text)
	}
	r.to, r.port = to, uint16(n)
	rest := words[5:]
	for len(rest) > 0 && rest[0].quoted {
		h, err := parseHeader(rest[0].text)
		if err != nil {
			return r, err
		}
		if strings.EqualFold(h.Name, "host") && len(r.others()) < len(r.headers) {
			return r, fmt.Errorf("'%s' is a second Host, which no proxy accepts", rest[0].text)
		}
		r.headers, rest = append(r.headers, h), rest[1:]
	}
	r.want, err = parseVerdict(rest)
	return r, err
}

func parseHeader(text string) (policy.Header, error) {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return policy.Header{}, fmt.Errorf("'%s' is not 'name: value'", text)
	}
	return policy.Header{Name: name, Value: strings.TrimPrefix(value, " ")}, nil
}

func parseVerdict(words []word) (verdict, error) {
	var texts []string
	for _, w := range words {
		if w.quoted {
			return verdict{}, fmt.Errorf("header '%s' stands behind the verdict; headers follow the target", w.text)
		}
		texts = append(texts, w.text)
	}
	switch {
	case len(texts) == 0:
		return verdict{}, fmt.Errorf("the verdict is missing; %s", verdictForm)
	case len(texts) == 1 && texts[0] == string(reject):
		return verdict{outcome: reject}, nil
	case len(texts) == 2 && texts[0] == string(deny):
		if !slices.Contains(reasons, policy.Reason(texts[1])) {
			return verdict{}, fmt.Errorf("%q is no reason; reasons are %q", texts[1], reasons)
		}
		return verdict{deny, texts[1]}, nil
	case len(texts) == 2 && texts[0] == string(allow):
		rule, ok := strings.CutPrefix(texts[1], "rule=")
		if _, named := mesh.ParseName(rule); !ok || !named {
			return verdict{}, fmt.Errorf("%q is not rule=namespace/name", texts[1])
		}
		return verdict{allow, rule}, nil
	}
	return verdict{}, fmt.Errorf("%q is no verdict; %s", strings.Join(texts, " "), verdictForm)
}

const verdictForm = `a verdict is: allow rule=namespace/name, or deny REASON, or reject`

// word is one word of a line; quoted tells a header from the rest.
type word struct {
	text   string
	quoted bool
}

func split(line string) ([]word, error) {
	var words []word
	for line != "" {
		if line[0] != '\'' {
			text, rest := line, ""
			if i := strings.IndexAny(line, " \t"); i >= 0 {
				text, rest = line[:i], line[i:]
			}
			words, line = append(words, word{text: text}), strings.TrimLeft(rest, " \t")
			continue
		}
		text, rest, ok := unquote(line[1:])
		if !ok {
			return nil, fmt.Errorf("the quote in %s does not end", line)
		}
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			return nil, fmt.Errorf("a blank is missing after '%s'", text)
		}
		words, line = append(words, word{text, true}), strings.TrimLeft(rest, " \t")
	}
	return words, nil
}

// unquote reads to the quote that ends the text.
func unquote(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\'':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		default:
			return b.String(), s[i+1:], true
		}
	}
	return "", "", false
}
