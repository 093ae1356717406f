//go:build !linux

package differential

import "syscall"

func diesWithParent() *syscall.SysProcAttr { return nil }
