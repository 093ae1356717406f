package wasmhost

import "syscall"

// diesWithParent ends Envoy with the tests even where they are killed.
func diesWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
