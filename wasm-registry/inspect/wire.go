package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// Frames have their length in front, in four bytes: the limits, the module, and
// a configuration in each that follows, until the end.
const (
	frameHead = 4
	// configurationBytes is the largest configuration: Envoy's own messages end
	// far below.
	configurationBytes = 64 << 20
)

// ask is what an inspection reads. It copies nothing.
func ask(l Limits, wasm []byte, configurations [][]byte) io.Reader {
	limits, err := json.Marshal(l)
	if err != nil {
		return errorReader{err}
	}
	var parts []io.Reader
	for _, frame := range append([][]byte{limits, wasm}, configurations...) {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(frame)))
		parts = append(parts, bytes.NewReader(head), bytes.NewReader(frame))
	}
	return io.MultiReader(parts...)
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// readLimits comes first, so that they hold before a byte of the module is read.
func readLimits(in io.Reader) (Limits, error) {
	var l Limits
	frame, err := readFrame(in, answerBytes)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(frame, &l)
}

func readModule(in io.Reader) (wasm []byte, configurations [][]byte, err error) {
	if wasm, err = readFrame(in, module.MaxBytes); err != nil {
		return nil, nil, err
	}
	for {
		c, err := readFrame(in, configurationBytes)
		if err == io.EOF {
			return wasm, configurations, nil
		}
		if err != nil {
			return nil, nil, err
		}
		configurations = append(configurations, c)
	}
}

// readFrame returns io.EOF when there is no further frame.
func readFrame(in io.Reader, most uint32) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > most {
		return nil, fmt.Errorf("a frame of %d bytes, at most %d are accepted", length, most)
	}
	frame, err := io.ReadAll(io.LimitReader(in, int64(length)))
	if err == nil && len(frame) < int(length) {
		err = io.ErrUnexpectedEOF
	}
	return frame, err
}

// legible makes of what a module said a text that fits a line of a log or a
// terminal and does nothing there.
func legible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() > errorBytes {
			b.WriteString("...")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
