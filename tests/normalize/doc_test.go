// Package normalize holds policy.Normalize against the sidecar it speaks for.
//
// Every decision rests on one reading of a path. If the proxy reads it in
// another way, a request that the policy judged as one path reaches the
// application as another. So a real Envoy, with the HTTP connection manager
// that package xds writes, is sent raw request targets, and an application
// behind it says what arrived. The tests never skip: without an Envoy they
// fail.
package normalize
