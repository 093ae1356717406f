package identity

import "syscall"

// endsWithParent has the kernel end a child even where the tests are killed.
func endsWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
