// Package wasmhost holds filters/wasmtest against the proxy it stands in for.
//
// One probe module runs in a real Envoy and in wazero. Both get the same
// requests, connections, answers of upstreams and pauses, and everything that
// can be seen from outside is compared: what the client got, what the upstream
// got, headers in their order, what every host call answered, what was logged,
// metrics, and what is left after a trap. Where the two differ on purpose the
// difference is a case of its own, which fails when the difference is gone.
//
// Nothing here must ever be skipped, and no observation may be changed on one
// side only. Without an Envoy the tests fail.
package wasmhost
