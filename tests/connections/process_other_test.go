//go:build !linux

package connections

import "syscall"

// endsWithParent is an honest name on Linux only.
func endsWithParent(*syscall.SysProcAttr) {}
