//go:build !linux

package rig

import "syscall"

// endsWithParent is an honest name on Linux only: elsewhere a killed test leaves
// its children.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
