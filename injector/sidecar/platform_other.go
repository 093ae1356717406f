//go:build !linux

package sidecar

import "syscall"

// childAttributes cannot tie Envoy's life to ours here: after a SIGKILL of the
// sidecar, Envoy has to be ended by hand.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func inMemory(string) bool { return false }
