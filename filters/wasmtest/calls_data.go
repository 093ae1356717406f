package wasmtest

func mapCalls() map[string]hostcall {
	return map[string]hostcall{
		"proxy_get_header_map_value":     {signature{"iiiii", "i"}, "", serveGetHeader},
		"proxy_add_header_map_value":     {signature{"iiiii", "i"}, "", serveAddHeader},
		"proxy_replace_header_map_value": {signature{"iiiii", "i"}, "", serveReplaceHeader},
		"proxy_remove_header_map_value":  {signature{"iii", "i"}, "", serveRemoveHeader},
		"proxy_get_header_map_pairs":     {signature{"iii", "i"}, "", serveGetPairs},
		"proxy_set_header_map_pairs":     {signature{"iii", "i"}, "", serveSetPairs},
		"proxy_get_header_map_size":      {signature{"ii", "i"}, "", serveMapSize},
	}
}

func serveGetHeader(v invocation, a []uint64) status {
	kind := uint32(a[0])
	if kind > mapLast {
		return statusBadArgument
	}
	name, ok := v.text(a[1], a[2])
	if !ok {
		return statusInvalidMemoryAccess
	}
	m := v.scope.readableMap(kind)
	if m == nil {
		if v.scope.http != nil && v.scope.http.logging {
			return statusNotFound
		}
		return statusBadArgument
	}
	value, ok := m.get(name)
	if !ok {
		return statusNotFound
	}
	return v.give([]byte(value), a[3], a[4])
}

// editMap finds a map to write to and the name to write under.
func (v invocation) editMap(a []uint64) (*headerMap, string, status) {
	if uint32(a[0]) > mapLast {
		return nil, "", statusBadArgument
	}
	name, ok := v.text(a[1], a[2])
	if !ok {
		return nil, "", statusInvalidMemoryAccess
	}
	m := v.scope.writableMap(uint32(a[0]))
	if m == nil {
		return nil, "", statusBadArgument
	}
	return m, name, statusOK
}

func serveAddHeader(v invocation, a []uint64) status {
	value, ok := v.text(a[3], a[4])
	if !ok {
		return statusInvalidMemoryAccess
	}
	m, name, st := v.editMap(a)
	if st == statusOK {
		m.add(name, value)
	}
	return st
}

func serveReplaceHeader(v invocation, a []uint64) status {
	value, ok := v.text(a[3], a[4])
	if !ok {
		return statusInvalidMemoryAccess
	}
	m, name, st := v.editMap(a)
	if st == statusOK {
		m.replace(name, value)
	}
	return st
}

func serveRemoveHeader(v invocation, a []uint64) status {
	m, name, st := v.editMap(a)
	if st == statusOK {
		m.remove(name)
	}
	return st
}

// serveGetPairs answers OK and nothing for a map that is out of reach, unlike
// the getter of one value.
func serveGetPairs(v invocation, a []uint64) status {
	if uint32(a[0]) > mapLast {
		return statusBadArgument
	}
	m := v.scope.readableMap(uint32(a[0]))
	if m == nil || len(m.pairs) == 0 {
		return v.give(nil, a[1], a[2])
	}
	return v.give(encodePairs(m.pairs), a[1], a[2])
}

func serveSetPairs(v invocation, a []uint64) status {
	if uint32(a[0]) > mapLast {
		return statusBadArgument
	}
	pairs, ok := v.pairs(a[1], a[2])
	if !ok {
		return statusInvalidMemoryAccess
	}
	m := v.scope.writableMap(uint32(a[0]))
	if m == nil {
		return statusBadArgument
	}
	m.pairs = newHeaderMap(pairs).pairs
	return statusOK
}

func serveMapSize(v invocation, a []uint64) status {
	if uint32(a[0]) > mapLast {
		return statusBadArgument
	}
	m := v.scope.writableMap(uint32(a[0]))
	if m == nil {
		return statusBadArgument
	}
	return wrote(v.put32(a[1], uint32(m.byteSize())))
}

func bufferCalls() map[string]hostcall {
	return map[string]hostcall{
		"proxy_get_buffer_bytes":  {signature{"iiiii", "i"}, "", serveGetBuffer},
		"proxy_get_buffer_status": {signature{"iii", "i"}, "", serveBufferStatus},
		"proxy_set_buffer_bytes":  {signature{"iiiii", "i"}, "", serveSetBuffer},
	}
}

func serveGetBuffer(v invocation, a []uint64) status {
	kind, start, length := uint32(a[0]), uint64(uint32(a[1])), uint64(uint32(a[2]))
	if kind > bufferLast {
		return statusBadArgument
	}
	data, ok := v.scope.readableBuffer(kind)
	if !ok {
		return statusNotFound
	}
	size := uint64(len(data))
	start = min(start, size)
	return v.give(data[start:min(start+length, size)], a[3], a[4])
}

func serveBufferStatus(v invocation, a []uint64) status {
	if uint32(a[0]) > bufferLast {
		return statusBadArgument
	}
	data, ok := v.scope.readableBuffer(uint32(a[0]))
	if !ok {
		return statusNotFound
	}
	return wrote(v.put32(a[1], uint32(len(data))) && v.put32(a[2], 0))
}

func serveSetBuffer(v invocation, a []uint64) status {
	kind := uint32(a[0])
	if kind > bufferLast {
		return statusBadArgument
	}
	if _, ok := v.scope.readableBuffer(kind); !ok {
		return statusNotFound
	}
	data, ok := v.bytes(a[3], a[4])
	if !ok {
		return statusInvalidMemoryAccess
	}
	buffer := v.scope.writableBuffer(kind)
	if buffer == nil {
		return statusBadArgument
	}
	return changeBuffer(buffer, uint32(a[1]), uint32(a[2]), data)
}

func metricCalls() map[string]hostcall {
	return map[string]hostcall{
		"proxy_define_metric":    {signature{"iiii", "i"}, "", serveDefineMetric},
		"proxy_increment_metric": {signature{"iI", "i"}, "", serveIncrementMetric},
		"proxy_record_metric":    {signature{"iI", "i"}, "", serveRecordMetric},
		"proxy_get_metric":       {signature{"ii", "i"}, "", serveGetMetric},
	}
}

// serveDefineMetric gives every definition an id of its own, even when the
// metric behind it is the same.
func serveDefineMetric(v invocation, a []uint64) status {
	kind := MetricKind(a[0])
	name, ok := v.text(a[1], a[2])
	if !ok {
		return statusInvalidMemoryAccess
	}
	if kind > Histogram {
		return statusBadArgument
	}
	v.in.lastMetrics[kind] += metricIDStep
	id := v.in.lastMetrics[kind] + uint32(kind)
	v.in.metrics[id] = v.in.vm.options.Proxy.defineMetric(kind, name)
	return wrote(v.put32(a[3], id))
}

func serveIncrementMetric(v invocation, a []uint64) status {
	id := uint32(a[0])
	if MetricKind(id%metricIDStep) > Gauge {
		return statusBadArgument
	}
	m, ok := v.in.metrics[id]
	if !ok {
		return statusNotFound
	}
	return v.in.vm.options.Proxy.incrementMetric(m, int64(a[1]))
}

func serveRecordMetric(v invocation, a []uint64) status {
	m, ok := v.in.metrics[uint32(a[0])]
	if !ok {
		return statusNotFound
	}
	v.in.vm.options.Proxy.recordMetric(m, a[1])
	return statusOK
}

func serveGetMetric(v invocation, a []uint64) status {
	id := uint32(a[0])
	if MetricKind(id%metricIDStep) > Gauge {
		return statusBadArgument
	}
	m, ok := v.in.metrics[id]
	if !ok {
		return statusNotFound
	}
	return wrote(v.put64(a[1], v.in.vm.options.Proxy.metricValue(m)))
}

// absentCalls are the ones Envoy serves and this package does not.
func absentCalls() map[string]hostcall {
	calls := map[string]hostcall{}
	for name, params := range map[string]string{
		"proxy_grpc_call":   "iiiiiiiiiiii",
		"proxy_grpc_stream": "iiiiiiiii",
		"proxy_grpc_close":  "i",
		"proxy_grpc_cancel": "i",
		"proxy_grpc_send":   "iiii",
	} {
		calls[name] = hostcall{signature{params, "i"}, "", refuse(name, statusUnimplemented)}
	}
	const foreign = "proxy_call_foreign_function"
	calls[foreign] = hostcall{signature{"iiiiii", "i"}, "", refuse(foreign, statusNotFound)}
	return calls
}

func refuse(name string, st status) func(invocation, []uint64) uint32 {
	return func(v invocation, _ []uint64) uint32 {
		v.in.vm.unsupported[name] = true
		return st
	}
}
