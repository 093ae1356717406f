// Package module says what a filter module is.
//
// It reads the shape of a module from its bytes: the ABI it speaks, what it
// calls and what can be called in it. It never compiles or runs a module, which
// package inspect does, and never keeps or serves one. It imports no Wasm
// runtime, so that a sidecar can read a shape too.
package module

// MaxBytes is the largest module accepted. The default module has 3 MB.
const MaxBytes = 64 << 20
