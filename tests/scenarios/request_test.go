package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// request is one line of a scenario, a request or a connection to an opaque port:
//
//	caller -> service:port  [h2]  METHOD  target  {'name: value'}  verdict
//	caller -> service:port  TCP  verdict
//
// Words are separated by blanks. A header stands in single quotes, in which ”
// is one quote; headers are sent in the order and as often as they stand there.
// Empty lines and lines that begin with # say nothing.
type request struct {
	at      string // file:line
	text    string
	from    string // a workload, or outside
	to      string // a service
	port    uint16
	wire    wire
	method  string
	target  string
	headers []policy.Header // names as written
	want    verdict
}

// wire is what the caller speaks.
type wire string

const (
	http1 wire = ""
	http2 wire = "h2"
	tcp   wire = "TCP"
)

// outsider is the caller that has neither a sidecar nor a certificate.
const outsider = "outside"

func (r request) outside() bool { return r.from == outsider }

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

const requestForm = `a request is: caller -> service:port METHOD target ['name: value' ...] verdict, a connection: caller -> service:port TCP verdict`

func parseRequest(line string) (request, error) {
	var r request
	words, err := split(line)
	if err != nil {
		return r, err
	}
	if len(words) < 5 || words[1].text != "->" {
		return r, fmt.Errorf("%q is too short; %s", line, requestForm)
	}
	rest := words[3:]
	if w := wire(rest[0].text); w == http2 || w == tcp {
		r.wire, rest = w, rest[1:]
	}
	plain := words[:len(words)-len(rest)]
	if r.wire != tcp {
		if len(rest) < 3 {
			return r, fmt.Errorf("%q is too short; %s", line, requestForm)
		}
		r.method, r.target = rest[0].text, rest[1].text
		plain, rest = words[:len(plain)+2], rest[2:]
	}
	for _, w := range plain {
		if w.quoted {
			return r, fmt.Errorf("'%s' stands in quotes, where only headers do; %s", w.text, requestForm)
		}
	}
	r.from = words[0].text
	to, port, ok := strings.Cut(words[2].text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || n == 0 {
		return r, fmt.Errorf("%q is not service:port", words[2].text)
	}
	r.to, r.port = to, uint16(n)
	if rest, err = r.parseHeaders(rest); err != nil {
		return r, err
	}
	if r.want, err = parseVerdict(rest); err == nil && r.want.outcome == shut && !r.outside() {
		err = fmt.Errorf("only a caller from %s finds a door shut", outsider)
	}
	return r, err
}

// parseHeaders takes the headers off the words and returns the others.
func (r *request) parseHeaders(words []word) ([]word, error) {
	for r.wire != tcp && len(words) > 0 && words[0].quoted {
		h, err := parseHeader(words[0].text)
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(h.Name, "host") && len(r.others()) < len(r.headers) {
			return nil, fmt.Errorf("'%s' is a second Host, which no proxy accepts", words[0].text)
		}
		r.headers, words = append(r.headers, h), words[1:]
	}
	return words, nil
}

func parseHeader(text string) (policy.Header, error) {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return policy.Header{}, fmt.Errorf("'%s' is not 'name: value'", text)
	}
	return policy.Header{Name: name, Value: strings.TrimPrefix(value, " ")}, nil
}

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
