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

// ReadSubject reads the subject of the certificate of the current stream's peer,
// empty where it has none.
func ReadSubject() string {
	b, _ := property("filter_state\x00" + SubjectKey)
	return string(b)
}

// Milliseconds reads how long the current stream has taken, rounded up, as a bucket
// holds what took at most its bound. False: it is not over.
func Milliseconds() (uint64, bool) {
	b, ok := property("request\x00duration")
	if !ok || len(b) != 8 {
		return 0, false
	}
	const nanoseconds = 1_000_000
	return (binary.LittleEndian.Uint64(b) + nanoseconds - 1) / nanoseconds, true
}

// Sizes reads how many bytes the current stream's request and its answer had,
// headers and trailers with them. False: it is not over.
func Sizes() (request, response uint64, ok bool) {
	b, ok := property("request\x00total_size")
	if !ok || len(b) != 8 {
		return 0, 0, false
	}
	request = binary.LittleEndian.Uint64(b)
	if b, ok = property("response\x00total_size"); !ok || len(b) != 8 {
		return 0, 0, false
	}
	return request, binary.LittleEndian.Uint64(b), true
}

// GRPCStatus reads the status of gRPC in the answer to the current stream. False:
// the answer has none.
func GRPCStatus() (int, bool) {
	b, ok := property("response\x00grpc_status")
	if !ok || len(b) != 8 {
		return 0, false
	}
	return int(binary.LittleEndian.Uint64(b)), true
}

// ResponseCode reads the status the caller got; 0 if it got none.
func ResponseCode() int {
	b, ok := property("response\x00code")
	if !ok || len(b) != 8 {
		return 0
	}
	return int(binary.LittleEndian.Uint64(b))
}
