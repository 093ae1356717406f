package xds

import wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

// Capabilities is all that the module may do and be asked. What it does not
// need, it cannot do: no call to the network, no shared data, no change to a
// header. What it does not answer, Envoy does not ask: without the callbacks
// for bodies, responses and connection data, a request enters the module for
// its headers and its end only.
func Capabilities() []string {
	return []string{
		// The module calls.
		"proxy_close_stream", "proxy_define_metric", "proxy_get_buffer_bytes", "proxy_get_header_map_pairs",
		"proxy_get_property", "proxy_increment_metric", "proxy_log", "proxy_record_metric",
		"proxy_send_local_response", "proxy_set_effective_context", "proxy_set_property", "proxy_set_tick_period_milliseconds",
		// Envoy calls. Without proxy_on_done a stream is done when it is done, which
		// is what the module would answer, one crossing later.
		"proxy_on_memory_allocate", "proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure",
		"proxy_on_tick", "proxy_on_request_headers", "proxy_on_log", "proxy_on_delete",
		// Go's runtime calls.
		"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close",
		"fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_write",
		"poll_oneoff", "proc_exit", "random_get", "sched_yield",
	}
}

// dataCapabilities are those of the VM for opaque ports, where Envoy also asks
// about every chunk of data. It is a VM of its own: sharing one would cost each
// read and write of every HTTP connection a call.
func dataCapabilities() []string {
	return append(Capabilities(), "proxy_on_downstream_data", "proxy_on_upstream_data")
}

func restrictedTo(names []string) *wasmv3.CapabilityRestrictionConfig {
	allowed := make(map[string]*wasmv3.SanitizationConfig, len(names))
	for _, name := range names {
		allowed[name] = &wasmv3.SanitizationConfig{}
	}
	return &wasmv3.CapabilityRestrictionConfig{AllowedCapabilities: allowed}
}
