// Package conformance runs the 24 assertions of the learn-layer5 SMI conformance
// suite against a mesh of the parts that ship: a control plane that watches a
// folder, three sidecars with their Envoys, and three applications.
//
// It is a port: the assertions are the suite's, the program and the manifests
// are our own, and README.md says where the two differ and why. It must never
// count an assertion that was not reached as passed, never skip one, and never
// judge before the sidecars run what was applied or later than the suite would.
package conformance
