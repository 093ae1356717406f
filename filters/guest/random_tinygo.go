//go:build tinygo

package guest

import "unsafe"

//go:wasmimport wasi_snapshot_preview1 random_get
func hostRandom(buffer unsafe.Pointer, size uint32) uint32

// random seeds TinyGo's maps. The C library has it too, but brings printf with
// it, which cost each sidecar 8 MB.
//
//export arc4random
func random() (r uint32) {
	_ = hostRandom(unsafe.Pointer(&r), uint32(unsafe.Sizeof(r)))
	return r
}
