package requests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// way is how a shape gets to the server's sidecar.
type way string

const (
	// http1 is the bytes of HTTP/1, by way of the caller's own sidecar.
	http1 way = "http1"
	// http2 is HTTP/2 in clear text, by way of the caller's own sidecar.
	http2 way = "http2"
	// direct is HTTP/2 over mutual TLS with the caller's leaf, past its own
	// sidecar: the server's must hold alone.
	direct way = "direct"
	// handshake is a connection to the server's sidecar with other credentials.
	handshake way = "handshake"
)

// shape is one hostile request.
type shape struct {
	family, name string
	// why is where it comes from: an advisory or a reason.
	why string
	// at is where it is written down.
	at string
	// wants says what must become of it, for each way that it goes.
	wants map[way]expectation
	// text is what goes over HTTP/1, frames what goes over HTTP/2.
	text   string
	frames []frame
	// credentials names those of a handshake.
	credentials string
	// brief: one answer is all there can be.
	brief bool
}

// ways returns the ways that the shape goes, in a fixed order.
func (s shape) ways() []way {
	return slices.DeleteFunc([]way{http1, http2, direct, handshake}, func(w way) bool {
		_, goes := s.wants[w]
		return !goes
	})
}

// readCorpus reads every family of testdata.
func readCorpus() ([]shape, error) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil {
		return nil, err
	}
	var all []shape
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		shapes, err := parseFamily(file, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, shapes...)
	}
	return all, nil
}

// parser reads one family. README.md describes the format.
type parser struct {
	family string
	file   string
	line   int
	// with are the headers that every request of the family has.
	with   []string
	shapes []shape
	names  map[string]bool
}

func parseFamily(file, text string) ([]shape, error) {
	p := &parser{
		family: strings.TrimSuffix(filepath.Base(file), ".txtar"),
		file:   filepath.ToSlash(file), names: map[string]bool{},
	}
	var part []string
	var begin int
	for line := range strings.Lines(text + "-- --\n") {
		p.line++
		line = strings.TrimSuffix(line, "\n")
		name, ok := marker(line)
		switch {
		case !ok:
			part = append(part, line)
			continue
		case begin == 0:
			p.preamble(part)
		default:
			if err := p.shape(part, begin); err != nil {
				return nil, err
			}
		}
		begin, part = p.line, []string{name}
	}
	return p.shapes, nil
}

func marker(line string) (string, bool) {
	name, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "--")
	return strings.TrimSpace(name), ok
}

func (p *parser) preamble(part []string) {
	for _, line := range part {
		if header, ok := strings.CutPrefix(line, "with: "); ok {
			p.with = append(p.with, header)
		}
	}
}

// shape reads a part: its name, then lines with why and want, then the request.
func (p *parser) shape(part []string, begin int) error {
	s := shape{family: p.family, name: part[0], at: fmt.Sprintf("%s:%d", p.file, begin), wants: map[way]expectation{}}
	fail := func(i int, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", p.file, begin+i, fmt.Sprintf(format, args...))
	}
	if s.name == "" || p.names[s.name] {
		return fail(0, "%q is no name, or the name of another shape", s.name)
	}
	p.names[s.name] = true
	var wants []string
	for i, line := range part[1:] {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch form, rest := key, part[i+2:]; {
		case line == "" || strings.HasPrefix(line, "#"):
		case key == "why":
			s.why = value
		case strings.HasPrefix(key, "want"):
			wants = append(wants, line)
		case slices.Contains([]string{"request", "bytes", "frames", "handshake"}, form):
			ways, err := p.form(&s, form, value, rest)
			if err != nil {
				return fail(i+1, "%v", err)
			}
			if err := s.expect(wants, ways); err != nil {
				return fail(i+1, "%v", err)
			}
			if s.why == "" {
				return fail(0, "it does not say why it is here")
			}
			p.shapes = append(p.shapes, s)
			return nil
		default:
			return fail(i+1, "%q: expected why, want, and then request, bytes, frames or handshake", line)
		}
	}
	return fail(0, "it has no request, bytes, frames or handshake")
}

// form reads what is sent and returns the ways on which it can be.
func (p *parser) form(s *shape, form, value string, rest []string) ([]way, error) {
	var err error
	switch form {
	case "request":
		if s.text, err = requestText(value, append(rest, p.with...)); err != nil {
			return nil, err
		}
		s.frames, err = requestFrames(value, append(rest, p.with...))
		return []way{http1, http2, direct}, err
	case "bytes":
		s.text, err = bytesOf(rest)
		return []way{http1}, err
	case "frames":
		s.frames, err = framesOf(rest)
		return []way{http2, direct}, err
	}
	s.credentials = value
	_, err = credentialsFor(value)
	return []way{handshake}, err
}

// expect reads "want: X" for all ways and "want http2 direct: Y" for some.
// Without the first, the shape goes only the ways of the others.
func (s *shape) expect(wants []string, ways []way) error {
	for _, line := range wants {
		key, value, _ := strings.Cut(line, ": ")
		e, err := parseExpectation(value)
		if err != nil {
			return err
		}
		named := strings.Fields(key)[1:]
		for _, w := range ways {
			if len(named) == 0 || slices.Contains(named, string(w)) {
				s.wants[w] = e
			}
		}
		for _, n := range named {
			if !slices.Contains(ways, way(n)) {
				return fmt.Errorf("%q: the shape cannot go the way %s", line, n)
			}
		}
	}
	if len(s.wants) == 0 {
		return fmt.Errorf("shape %q does not say what is wanted", s.name)
	}
	return nil
}
