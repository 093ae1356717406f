package requests

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	// authority is what an honest caller says: the service and its namespace.
	authority = "server.b"
	// idMark stands for the id of a request, pauseMark for a moment's silence.
	idMark, pauseMark = "{id}", "{pause}"
)

// repeated is "{60000*a}": a text many times over.
var repeated = regexp.MustCompile(`\{(\d+)\*([^}]*)\}`)

// times is "200 times: ": a whole line many times over.
var times = regexp.MustCompile(`^(\d+) times: `)

// unescaped expands repetitions and reads Go's escapes.
func unescaped(s string) (string, error) {
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		parts := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[1]) // the pattern has digits only
		return strings.Repeat(parts[2], n)
	})
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		return "", fmt.Errorf("%.100q is not written with Go's escapes: %w", s, err)
	}
	return out, nil
}

// cutTimes takes "200 times: " off a line.
func cutTimes(line string) (int, string) {
	m := times.FindStringSubmatch(line)
	if m == nil {
		return 1, line
	}
	n, _ := strconv.Atoi(m[1]) // the pattern has digits only
	return n, line[len(m[0]):]
}

// each calls do for every line, unescaped, as often as it is to be repeated.
// Empty lines and remarks are left out.
func each(lines []string, do func(string) error) error {
	for _, line := range lines {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n, line := cutTimes(line)
		text, err := unescaped(line)
		if err != nil {
			return err
		}
		for range n {
			if err := do(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// bytesOf joins lines, which say themselves where HTTP's lines end.
func bytesOf(lines []string) (string, error) {
	var out strings.Builder
	err := each(lines, func(line string) error {
		out.WriteString(line)
		return nil
	})
	return out.String(), err
}

// headerOf cuts a header line; a pseudo-header's first colon is part of its name.
func headerOf(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line[min(1, len(line)):], ":")
	if !ok {
		return "", "", fmt.Errorf("%.100q is not name: value", line)
	}
	return line[:1] + name, strings.TrimPrefix(value, " "), nil
}

// requestText writes a request as HTTP/1 does.
func requestText(line string, headers []string) (string, error) {
	line, err := unescaped(line)
	if err != nil {
		return "", err
	}
	host, rest := "Host: "+authority+"\r\n", ""
	err = each(headers, func(header string) error {
		if name, _, err := headerOf(header); err != nil {
			return err
		} else if strings.EqualFold(name, "host") {
			host = ""
		}
		rest += header + "\r\n"
		return nil
	})
	return line + " HTTP/1.1\r\n" + host + idHeader + ": " + idMark + "\r\n" + rest + "\r\n", err
}

// requestFrames writes the same request as HTTP/2 does.
func requestFrames(line string, headers []string) ([]frame, error) {
	line, err := unescaped(line)
	if err != nil {
		return nil, err
	}
	method, path, ok := strings.Cut(line, " ")
	if !ok {
		return nil, fmt.Errorf("%q is not a method and a target", line)
	}
	host := authority
	var rest []field
	err = each(headers, func(header string) error {
		name, value, err := headerOf(header)
		if strings.EqualFold(name, "host") {
			host = value
			return err
		}
		rest = append(rest, field{strings.ToLower(name), value})
		return err
	})
	head := []field{{":method", method}, {":scheme", "http"}, {":authority", host}, {":path", path}, {idHeader, idMark}}
	return []frame{{kind: "HEADERS", stream: 1, endStream: true, endHeaders: true, fields: append(head, rest...)}}, err
}
