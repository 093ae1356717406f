package differential

import "syscall"

// diesWithParent ends Envoy with the tests even where they are killed.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
