package wasmtest

import "github.com/tetratelabs/wazero/api"

// signature describes a function in one letter per value: i for i32, I for
// i64. Nothing in Proxy-Wasm returns anything but one i32 or nothing.
type signature struct {
	params string
	result string
}

func (s signature) matches(f api.FunctionDefinition) bool {
	return same(s.params, f.ParamTypes()) && same(s.result, f.ResultTypes())
}

func same(letters string, types []api.ValueType) bool {
	if len(letters) != len(types) {
		return false
	}
	for i, t := range valueTypes(letters) {
		if types[i] != t {
			return false
		}
	}
	return true
}

func valueTypes(letters string) []api.ValueType {
	types := make([]api.ValueType, len(letters))
	for i, letter := range letters {
		types[i] = api.ValueTypeI32
		if letter == 'I' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

// guestFunctions are the exports Envoy looks for; every one is optional but
// the allocator, and one with another type fails the load.
var guestFunctions = map[string]signature{
	"_initialize":                             {},
	"_start":                                  {},
	"main":                                    {"ii", "i"},
	"__main_void":                             {"", "i"},
	"malloc":                                  {"i", "i"},
	"proxy_on_memory_allocate":                {"i", "i"},
	"proxy_on_context_create":                 {"ii", ""},
	"proxy_on_vm_start":                       {"ii", "i"},
	"proxy_on_configure":                      {"ii", "i"},
	"proxy_on_tick":                           {"i", ""},
	"proxy_on_new_connection":                 {"i", "i"},
	"proxy_on_downstream_data":                {"iii", "i"},
	"proxy_on_upstream_data":                  {"iii", "i"},
	"proxy_on_downstream_connection_close":    {"ii", ""},
	"proxy_on_upstream_connection_close":      {"ii", ""},
	"proxy_on_request_headers":                {"iii", "i"},
	"proxy_on_request_body":                   {"iii", "i"},
	"proxy_on_request_trailers":               {"ii", "i"},
	"proxy_on_response_headers":               {"iii", "i"},
	"proxy_on_response_body":                  {"iii", "i"},
	"proxy_on_response_trailers":              {"ii", "i"},
	"proxy_on_http_call_response":             {"iiiii", ""},
	"proxy_on_grpc_receive_initial_metadata":  {"iii", ""},
	"proxy_on_grpc_receive":                   {"iii", ""},
	"proxy_on_grpc_receive_trailing_metadata": {"iii", ""},
	"proxy_on_grpc_close":                     {"iii", ""},
	"proxy_on_queue_ready":                    {"ii", ""},
	"proxy_on_foreign_function":               {"iii", ""},
	"proxy_on_done":                           {"i", "i"},
	"proxy_on_log":                            {"i", ""},
	"proxy_on_delete":                         {"i", ""},
}
