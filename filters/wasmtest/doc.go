// Package wasmtest runs a compiled Proxy-Wasm module offline, the way
// Envoy 1.40 runs it in one worker: the same start sequence, the same hostcall
// results, the same reaction to a trap. A Module is compiled once; each VM
// started from it carries any number of plugins, and a plugin answers HTTP
// streams and TCP connections.
//
// It must never be kinder than Envoy: a module that passes here must load and
// behave the same in the proxy. It opens no socket, reads no file for the
// guest, and never consults the real clock on the guest's behalf.
//
// A VM is one worker thread: it and everything made from it belong to one
// goroutine at a time. A Module and a Proxy may be shared freely.
//
// # Where it differs from Envoy on purpose
//
//   - Time is virtual. It stands still until [VM.Advance]; a guest that sleeps
//     is let through at once and [VM.Blocked] says how long a worker would
//     have spun.
//   - There is one VM, not one for the main thread, one for validation and one
//     per worker, so start callbacks run once. Give two VMs one [Proxy] to
//     see what two workers see.
//   - Errors say what is wrong. Envoy answers every bad module with
//     "Unable to create Wasm plugin".
//   - ABI 0.1.0 is refused; Envoy still loads it.
//   - proc_exit traps, so that a guest's os.Exit fails the VM. Envoy logs the
//     call and lets the guest run on, to trap wherever that leads.
//   - A trap while the guest allocates ends the outer callback too.
//   - Repeated header names stay apart. Envoy joins some well-known ones with
//     a comma before any filter runs.
//   - Properties are what the test put there; none is computed from headers.
//   - A local reply to a gRPC request is not rewritten into trailers.
//   - gRPC calls answer Unimplemented, as no Go SDK can make them, and foreign
//     functions NotFound; [VM.Unsupported] names what was tried.
//   - proxy_set_header_map_pairs and proxy_send_local_response name the
//     oversized or malformed map in the log; Envoy takes it for an empty one
//     without a word, and the map is empty here too.
//   - Log lines of every level are kept, up to 1 MiB of the newest.
package wasmtest
