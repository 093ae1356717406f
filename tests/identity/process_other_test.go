//go:build !linux

package identity

import "syscall"

// endsWithParent is an honest name on Linux only.
func endsWithParent(*syscall.SysProcAttr) {}
