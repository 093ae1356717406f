package inspect

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// run starts a process, waits for it and sees to it that it does not outlive
// this one. The system ends it when the thread that started it ends, so the
// thread stays.
func run(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// restrict limits this process for good. Being out of memory or time ends it;
// it can open nothing more than it needs, write no file and leave no image.
func restrict(l Limits) error {
	seconds := uint64((l.CPU + time.Second - 1) / time.Second)
	for _, r := range []struct {
		name     string
		resource int
		most     uint64
	}{
		// Only the hard limit ends a Go program: it ignores the signal of the soft one.
		{"processor time", unix.RLIMIT_CPU, seconds},
		// Memory that is written to: of the rest Go's runtime reserves a lot.
		{"memory", unix.RLIMIT_DATA, l.Process},
		{"image", unix.RLIMIT_CORE, 0},
		{"size of files", unix.RLIMIT_FSIZE, 0},
		{"open files", unix.RLIMIT_NOFILE, 16},
	} {
		if err := unix.Setrlimit(r.resource, &unix.Rlimit{Cur: r.most, Max: r.most}); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// killed reports whether a process was ended by the system.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
