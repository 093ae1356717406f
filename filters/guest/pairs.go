// Package guest is what the stages see of a stream: its headers, read once and
// in place, and the facts of its connection.
//
// The SDK owns lifecycle and dispatch; this package replaces only the hostcalls
// of the hot path, where copying costs more than deciding. It never panics on
// what the host hands over, and never decides anything.
package guest

import (
	"encoding/binary"
	"unsafe"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// Request is a stream's request as the policy reads it. Its texts lie in the
// bytes it was read from and stay good as long as those are kept.
type Request struct {
	Method  string
	Path    string
	Headers []policy.Header
}

// ParsePairs reads the serialized header map of the Proxy-Wasm ABI: a count,
// the lengths of all names and values, then the texts, each with a NUL behind
// it. The headers are appended to reuse[:0]. False: the bytes are not a header
// map; the request must not pass.
func ParsePairs(b []byte, reuse []policy.Header) (Request, bool) {
	if len(b) < 4 {
		return Request{}, false
	}
	count := uint64(binary.LittleEndian.Uint32(b))
	if count > uint64(len(b)-4)/8 {
		return Request{}, false
	}
	r := Request{Headers: reuse[:0]}
	sizes, texts := b[4:4+8*count], b[4+8*count:]
	for ; len(sizes) > 0; sizes = sizes[8:] {
		name, rest, ok := cutText(texts, binary.LittleEndian.Uint32(sizes))
		if !ok {
			return Request{}, false
		}
		value, rest, ok := cutText(rest, binary.LittleEndian.Uint32(sizes[4:]))
		if !ok {
			return Request{}, false
		}
		texts = rest
		r.add(name, value)
	}
	return r, true
}

func (r *Request) add(name, value string) {
	switch name {
	case ":method":
		r.Method = value
	case ":path":
		r.Path = value
	}
	r.Headers = append(r.Headers, policy.Header{Name: name, Value: value})
}

// cutText takes size bytes and the NUL behind them off b.
func cutText(b []byte, size uint32) (string, []byte, bool) {
	n := uint64(size)
	if n >= uint64(len(b)) {
		return "", nil, false
	}
	return unsafe.String(unsafe.SliceData(b), int(n)), b[n+1:], true
}
