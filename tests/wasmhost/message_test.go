package wasmhost

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// message is a request or an answer as it is on the wire: a first line, headers
// in order, a body without its framing, trailers.
type message struct {
	first    string
	headers  []wasmtest.Pair
	body     string
	trailers []wasmtest.Pair
}

// hopHeaders are made by each codec for itself, or by the clock.
var hopHeaders = []string{"transfer-encoding", "connection", "date", "host"}

// lines is what is compared.
func (m message) lines() []string {
	if m.first == "" {
		return nil
	}
	out := []string{m.first}
	for _, h := range m.headers {
		if slices.Contains(hopHeaders, h.Name) || h.Name == "content-length" && h.Value == "0" {
			continue
		}
		out = append(out, h.Name+": "+h.Value)
	}
	if m.body != "" {
		out = append(out, fmt.Sprintf("body %q", m.body))
	}
	// HTTP/1 has trailers only where a body has chunks.
	if m.header("content-length") != "" {
		return out
	}
	for _, h := range m.trailers {
		out = append(out, "trailer "+h.Name+": "+h.Value)
	}
	return out
}

// fromHost is a message as wasmtest hands it on, with pseudo headers.
func fromHost(m wasmtest.Message) message {
	out := message{body: string(m.Body), trailers: m.Trailers}
	pseudo := map[string]string{}
	for _, h := range m.Headers {
		if strings.HasPrefix(h.Name, ":") {
			pseudo[h.Name] = h.Value
			continue
		}
		out.headers = append(out.headers, h)
	}
	switch {
	case m.Headers == nil:
		return message{}
	case pseudo[":status"] != "":
		out.first = pseudo[":status"]
	default:
		out.first = strings.Join([]string{pseudo[":method"], pseudo[":path"], pseudo[":authority"]}, " ")
	}
	return out
}

// readMessage reads one message of HTTP/1.1.
func readMessage(in *bufio.Reader) (message, error) {
	first, err := in.ReadString('\n')
	if err != nil {
		return message{}, err
	}
	m := message{}
	words := strings.Fields(first)
	if m.headers, err = readHeaders(in); err != nil {
		return message{}, err
	}
	if strings.HasPrefix(first, "HTTP/") {
		m.first = words[1]
	} else {
		m.first = strings.Join([]string{words[0], words[1], m.header("host")}, " ")
	}
	if m.header("transfer-encoding") == "chunked" {
		return m, m.readChunks(in)
	}
	length, _ := strconv.Atoi(m.header("content-length"))
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	m.body = string(body)
	return m, err
}

func (m *message) header(name string) string {
	for _, h := range m.headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

func (m *message) readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(strings.TrimSpace(line), 16, 31)
		if err != nil {
			return err
		}
		if size == 0 {
			m.trailers, err = readHeaders(in)
			return err
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return err
		}
		m.body += string(chunk[:size])
	}
}

func readHeaders(in *bufio.Reader) ([]wasmtest.Pair, error) {
	var headers []wasmtest.Pair
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return headers, nil
		}
		name, value, _ := strings.Cut(line, ":")
		headers = append(headers, wasmtest.Pair{Name: strings.ToLower(name), Value: strings.TrimSpace(value)})
	}
}

func writeHead(out io.Writer, first string, headers []wasmtest.Pair) error {
	text := first + "\r\n"
	for _, h := range headers {
		text += h.Name + ": " + h.Value + "\r\n"
	}
	_, err := io.WriteString(out, text+"\r\n")
	return err
}

// writeChunks sends a body piece by piece and lets the other side see each.
func writeChunks(out io.Writer, chunks []string, trailers []wasmtest.Pair, seen func()) error {
	for _, c := range chunks {
		seen()
		if _, err := fmt.Fprintf(out, "%x\r\n%s\r\n", len(c), c); err != nil {
			return err
		}
	}
	seen()
	return writeHead(out, "0", trailers)
}
