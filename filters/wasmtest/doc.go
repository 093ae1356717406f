// Package wasmtest runs a compiled Proxy-Wasm module offline, the way
// Envoy 1.40 runs it in one worker: the same start sequence, the same answers
// to host calls, the same reaction to a trap. It is for the tests of filters,
// whatever they are written in, and for looking at a module before a proxy gets
// it. docs/writing-filters.md tests a first filter with it.
//
// It must never be kinder than Envoy: a module that passes here must load and
// behave the same in the proxy. It opens no socket, reads no file for the
// guest, and never consults the real clock on the guest's behalf.
//
// # How it is used
//
// [Load] builds a main package and compiles it to a [Module], once for all
// tests. [Module.StartPlugin] starts a [VM] with one [Plugin]; a VM carries any
// number. A plugin answers HTTP streams ([Plugin.HTTP]) and TCP connections
// ([Plugin.TCP]), whose events the test makes in their natural order.
//
//   - What the guest did to a stream: [Stream.Upstream], [Stream.Downstream],
//     [Result]. To a connection: [Connection.ToUpstream],
//     [Connection.ToDownstream], [Connection.Closed].
//   - HTTP calls of the guest wait in [VM.Calls] until the test answers them.
//   - Time moves with [VM.Advance]: ticks run, calls time out, queues are heard.
//   - Metrics, shared data and shared queues are in the [Proxy], which VMs
//     share as the workers of one Envoy do.
//   - Log lines: [VM.Logs]. Traps: [VM.Failure], [FailurePolicy], [VM.Reload].
//     Memory: [VM.MemoryBytes], [WithMemoryLimit]. Host calls:
//     [Options.OnHostCall], [HostCalls].
//
// A VM is one worker thread: it and everything made from it belong to one
// goroutine at a time. A Module and a Proxy may be shared freely.
//
// # What is promised
//
// [Envoy] names the version whose behaviour is promised, [ABI] the newest
// Proxy-Wasm version. tests/wasmhost runs one module in that Envoy and here and
// compares what the client and the upstream get, headers in order, bodies,
// trailers, every host call with its status, log lines, metrics, shared data,
// queues, ticks, HTTP calls, and what a trap leaves under each failure policy.
//
// The package is versioned with the repository, by semantic versioning. Within
// a major version no exported name is removed and none changes its meaning; the
// behaviour of the host changes only where it was not Envoy's, or when the
// constants name a newer version. A minor version says so in its notes.
//
// # Where it differs from Envoy on purpose
//
// Each of these has a test in tests/wasmhost that fails when it is gone:
//
//   - Time is virtual. A guest that sleeps is let through at once, and
//     [VM.Blocked] says how long a worker would have spun.
//   - There is one VM, not one for the main thread, one for validation and one
//     per worker, so start callbacks run once.
//   - proc_exit traps, so that a guest's os.Exit fails the VM. Envoy logs the
//     call and lets the guest run on.
//   - Repeated header names stay apart. Envoy joins some well-known ones with
//     a comma before any filter runs.
//   - There is no router: a request that lost what Envoy's routes need goes on.
//   - Properties are what the test put there; none is computed from headers.
//   - A local reply to a gRPC request is not rewritten into trailers.
//   - gRPC calls answer Unimplemented, as no Go SDK can make them, and foreign
//     functions NotFound; [VM.Unsupported] names what was tried.
//   - proxy_set_header_map_pairs and proxy_send_local_response name the
//     oversized or malformed map in the log; Envoy takes it for an empty one
//     without a word, and the map is empty here too.
//   - [Call.Request] has not the headers that Envoy's router adds to a call.
//
// These are not compared, as the proxy does not show them or no compiler makes
// them:
//
//   - Errors say what is wrong. Envoy answers every bad module with
//     "Unable to create Wasm plugin".
//   - ABI 0.1.0 is refused; Envoy still loads it.
//   - A trap while the guest allocates ends the outer callback too.
//   - The back-off of [FailReload] is exact; Envoy adds up to half as much.
//   - Log lines of every level are kept, up to 1 MiB of the newest.
package wasmtest
