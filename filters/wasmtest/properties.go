package wasmtest

import (
	"encoding/binary"
	"strings"
	"time"
)

// Properties maps a path, made by [Path], to a value as it goes over the wire,
// made by [Text], [Int], [Uint], [Bool], [Span], [Instant] or [Map].
type Properties map[string][]byte

// Path joins the elements of a property's path as a guest does on the wire.
func Path(elements ...string) string { return strings.Join(elements, "\x00") }

// Text encodes a string or bytes property: the raw bytes.
func Text(v string) []byte { return []byte(v) }

// Int encodes a signed property in eight bytes.
func Int(v int64) []byte { return Uint(uint64(v)) }

// Uint encodes an unsigned property, such as connection.id, in eight bytes.
func Uint(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// Bool encodes a boolean property, such as connection.mtls, in one byte.
func Bool(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}

// Span encodes a duration property, such as request.duration, in nanoseconds.
func Span(v time.Duration) []byte { return Int(int64(v)) }

// Instant encodes a timestamp property, such as request.time, in nanoseconds
// since 1970.
func Instant(v time.Time) []byte { return Int(v.UnixNano()) }

// Map encodes a map property, such as request.headers.
func Map(pairs []Pair) []byte { return encodePairs(pairs) }

// property answers proxy_get_property for the scope.
func (sc *scope) property(path string) ([]byte, status) {
	path = strings.TrimSuffix(path, "\x00")
	if path == "" {
		return nil, statusSerializationFailure
	}
	if info := sc.streamInfo(); info != nil {
		if v, ok := info.Properties[path]; ok {
			return v, statusOK
		}
		if v, ok := sc.state[path]; ok && !strings.Contains(path, "\x00") {
			return v, statusOK
		}
		if name, ok := strings.CutPrefix(path, Path("filter_state", "wasm.")); ok {
			if v, ok := sc.state[name]; ok {
				return v, statusOK
			}
		}
	}
	if v, ok := sc.in.vm.options.Properties[path]; ok {
		return v, statusOK
	}
	return sc.pluginProperty(path)
}

func (sc *scope) pluginProperty(path string) ([]byte, status) {
	switch {
	case path == "plugin_vm_id":
		return []byte(sc.in.vm.options.VMID), statusOK
	case sc.plugin == nil:
		return nil, statusNotFound
	case path == "plugin_name":
		return []byte(sc.plugin.config.Name), statusOK
	case path == "plugin_root_id":
		return []byte(sc.plugin.config.RootID), statusOK
	}
	return nil, statusNotFound
}

// setProperty keeps the value under a prefix of its own in filter state, so a
// guest cannot overwrite a property that Envoy provides.
func (sc *scope) setProperty(path string, value []byte) status {
	if sc.streamInfo() == nil {
		return statusNotFound
	}
	if sc.state == nil {
		sc.state = map[string][]byte{}
	}
	sc.state[path] = value
	return statusOK
}
