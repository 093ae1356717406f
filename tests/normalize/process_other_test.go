//go:build !linux

package normalize

import "syscall"

func diesWithParent() *syscall.SysProcAttr { return nil }
