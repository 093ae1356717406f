//go:build !linux

package wasmhost

import "syscall"

// diesWithParent has no counterpart here.
func diesWithParent(*syscall.SysProcAttr) {}
