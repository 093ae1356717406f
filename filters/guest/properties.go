package guest

import (
	"encoding/binary"
	"unsafe"
)

// ReadConnection reads the facts of the current stream's connection. False: the sidecar did not make them; nothing may pass.
func ReadConnection() (Connection, bool) {
	b, ok := property("filter_state\x00" + ConnectionKey)
	if !ok {
		return Connection{}, false
	}
	return ParseConnection(unsafe.String(unsafe.SliceData(b), len(b))), true
}

// ResponseCode reads the status the caller got; 0 if it got none.
func ResponseCode() int {
	b, ok := property("response\x00code")
	if !ok || len(b) != 8 {
		return 0
	}
	return int(binary.LittleEndian.Uint64(b))
}
