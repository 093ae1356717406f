package guest

import "unsafe"

// The host writes a 32-bit address and a 32-bit length through the last two
// parameters; Go's pointers on this platform are 64 bits wide, so the variable
// they point to must start out nil.

//go:wasmimport env proxy_get_header_map_pairs
func hostHeaderPairs(mapType int32, data unsafe.Pointer, size *int32) uint32

//go:wasmimport env proxy_get_property
func hostProperty(path *byte, pathSize int32, data unsafe.Pointer, size *int32) uint32

//go:wasmimport env proxy_set_property
func hostSetProperty(path *byte, pathSize int32, value *byte, valueSize int32) uint32

//go:wasmimport env proxy_define_metric
func hostDefineMetric(kind uint32, name *byte, nameSize int32, id *uint32) uint32

//go:wasmimport env proxy_increment_metric
func hostIncrementMetric(metric uint32, offset int64) uint32

//go:wasmimport env proxy_record_metric
func hostRecordMetric(metric uint32, value uint64) uint32

//go:wasmimport env proxy_close_stream
func hostCloseStream(stream int32) uint32

const (
	requestHeaders = 0
	requestStream  = 0
)

// RequestPairs returns the request's headers as ParsePairs reads them, in one
// hostcall and without a copy. The host asked the guest's own allocator for the
// bytes, so they live as long as somebody keeps them.
func RequestPairs() ([]byte, bool) {
	var data *byte
	var size int32
	if hostHeaderPairs(requestHeaders, unsafe.Pointer(&data), &size) != 0 || data == nil || size < 0 {
		return nil, false
	}
	return unsafe.Slice(data, size), true
}

// CloseRequest ends the stream of the effective context, whatever state its
// answer is in; the SDK can do that for connections only. False: the host
// refused.
func CloseRequest() bool { return hostCloseStream(requestStream) == 0 }

// property reads one property; path elements are joined by NUL.
func property(path string) ([]byte, bool) {
	var data *byte
	var size int32
	status := hostProperty(unsafe.StringData(path), int32(len(path)), unsafe.Pointer(&data), &size)
	if status != 0 || data == nil || size < 0 {
		return nil, false
	}
	return unsafe.Slice(data, size), true
}

func setProperty(path, value string) bool {
	return hostSetProperty(unsafe.StringData(path), int32(len(path)), unsafe.StringData(value), int32(len(value))) == 0
}

func hostDefine(kind uint32, name string) (id uint32, ok bool) {
	status := hostDefineMetric(kind, unsafe.StringData(name), int32(len(name)), &id)
	return id, status == 0
}

func hostIncrement(metric uint32, offset int64) bool { return hostIncrementMetric(metric, offset) == 0 }

func hostRecord(metric uint32, value uint64) bool { return hostRecordMetric(metric, value) == 0 }
