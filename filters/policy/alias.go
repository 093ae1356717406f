package policy

import "unsafe"

// alias returns b as a string without copying it. Decode says that its input
// must not change; a table of ten thousand sources then costs its bytes once.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
