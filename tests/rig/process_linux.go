package rig

import "syscall"

// endsWithParent has the kernel end a child even where this process is killed.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
