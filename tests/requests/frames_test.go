package requests

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frame is one frame of HTTP/2, right or wrong.
type frame struct {
	kind                  string
	stream                uint32
	endStream, endHeaders bool
	// fields are those of a HEADERS or CONTINUATION frame, payload is DATA's.
	fields  []field
	payload string
}

type field struct{ name, value string }

// withID returns the frame with an id in place of its mark.
func (f frame) withID(id string) frame {
	fields := slices.Clone(f.fields)
	for i := range fields {
		fields[i].value = strings.ReplaceAll(fields[i].value, idMark, id)
	}
	f.fields = fields
	f.payload = strings.ReplaceAll(f.payload, idMark, id)
	return f
}

var frameKinds = []string{"HEADERS", "CONTINUATION", "DATA", "RST_STREAM"}

// framesOf reads lines such as "> HEADERS 1 end-stream", each followed by its
// fields.
func framesOf(lines []string) ([]frame, error) {
	var out []frame
	var last string
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "> "); ok {
			n, text := cutTimes(text)
			f, err := frameOf(text)
			if err != nil {
				return nil, err
			}
			for range n {
				out = append(out, f)
			}
			last = f.kind
			continue
		}
		err := each([]string{line}, func(header string) error {
			if last != "HEADERS" && last != "CONTINUATION" {
				return fmt.Errorf("field %.100q has no HEADERS or CONTINUATION before it", header)
			}
			name, value, err := headerOf(header)
			f := &out[len(out)-1]
			f.fields = append(f.fields, field{name, value})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// frameOf reads "DATA 1 end-stream payload".
func frameOf(line string) (frame, error) {
	kind, rest, _ := strings.Cut(line, " ")
	stream, rest, _ := strings.Cut(rest, " ")
	id, err := strconv.ParseUint(stream, 10, 31)
	if err != nil || !slices.Contains(frameKinds, kind) {
		return frame{}, fmt.Errorf("%q is none of %v with the number of a stream", line, frameKinds)
	}
	f := frame{kind: kind, stream: uint32(id), endHeaders: true}
	for {
		word, after, _ := strings.Cut(rest, " ")
		switch word {
		case "end-stream":
			f.endStream = true
		case "more-headers":
			f.endHeaders = false
		default:
			f.payload, err = unescaped(rest)
			return f, err
		}
		rest = after
	}
}

// maxFrame is the longest payload that every receiver accepts.
const maxFrame = 16 << 10

// writer writes frames as they are asked for, also where that is forbidden.
type writer struct {
	out     bytes.Buffer
	block   bytes.Buffer
	framer  *xhttp2.Framer
	encoder *hpack.Encoder
}

// encoded returns the bytes of all frames, after HTTP/2's greeting. The table of
// HPACK is used, so that a repeated field is one byte.
func encoded(frames []frame, id string) (string, error) {
	w := &writer{}
	w.framer = xhttp2.NewFramer(&w.out, nil)
	w.framer.AllowIllegalWrites = true
	w.encoder = hpack.NewEncoder(&w.block)
	w.out.WriteString(xhttp2.ClientPreface)
	if err := w.framer.WriteSettings(); err != nil {
		return "", err
	}
	for _, f := range frames {
		if err := w.write(f.withID(id)); err != nil {
			return "", err
		}
	}
	return w.out.String(), nil
}

func (w *writer) write(f frame) error {
	switch f.kind {
	case "DATA":
		return w.framer.WriteData(f.stream, f.endStream, []byte(f.payload))
	case "RST_STREAM":
		return w.framer.WriteRSTStream(f.stream, xhttp2.ErrCodeCancel)
	}
	w.block.Reset()
	for _, one := range f.fields {
		err := w.encoder.WriteField(hpack.HeaderField{Name: one.name, Value: one.value})
		if err != nil {
			return err
		}
	}
	block := w.block.Bytes()
	first := block[:min(len(block), maxFrame)]
	block = block[len(first):]
	last := f.endHeaders && len(block) == 0
	var err error
	if f.kind == "HEADERS" {
		err = w.framer.WriteHeaders(xhttp2.HeadersFrameParam{
			StreamID: f.stream, BlockFragment: first, EndStream: f.endStream, EndHeaders: last,
		})
	} else {
		err = w.framer.WriteContinuation(f.stream, last, first)
	}
	for err == nil && len(block) > 0 {
		part := block[:min(len(block), maxFrame)]
		block = block[len(part):]
		err = w.framer.WriteContinuation(f.stream, f.endHeaders && len(block) == 0, part)
	}
	return err
}
