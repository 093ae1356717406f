package sidecar

import "syscall"

// childAttributes end Envoy when the thread that started it ends, whatever ended
// that. A group of its own keeps a Ctrl-C of the terminal away from Envoy: it
// would skip the draining.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// The types of file system that live in memory, from statfs(2).
const (
	tmpfs = 0x01021994
	ramfs = 0x858458f6
)

func inMemory(dir string) bool {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return false
	}
	kind := uint32(st.Type)
	return kind == tmpfs || kind == ramfs
}
