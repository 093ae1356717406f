package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// cores is who runs where: the Envoy that is measured has a core of its own,
// so that its load never takes it off.
type cores struct {
	envoy, load unix.CPUSet
	// apart is false where there is only one core for both.
	apart bool
}

// splitCores gives the last core this process may use to Envoy, as the first
// ones take most of the interrupts, and the others to this process.
func splitCores() (cores, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}, fmt.Errorf("reading the cores of this process: %w", err)
	}
	if allowed.Count() < 2 {
		return cores{envoy: allowed, load: allowed}, nil
	}
	c := cores{load: allowed, apart: true}
	last := len(allowed)*strconv.IntSize - 1
	for !allowed.IsSet(last) {
		last--
	}
	c.envoy.Set(last)
	c.load.Clear(last)
	return c, nil
}

// keep moves every thread of this process to the cores of the load; threads
// that come later inherit them.
func (c cores) keep() error {
	runtime.GOMAXPROCS(c.load.Count())
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &c.load); err != nil && err != unix.ESRCH {
			return fmt.Errorf("moving thread %d to its cores: %w", id, err)
		}
	}
	return nil
}

// start starts cmd on Envoy's core. A child inherits the core of the thread
// that makes it; moving it later would miss the threads it already has.
func (c cores) start(cmd *exec.Cmd) error {
	// The kernel kills the child with its parent, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &c.envoy); err != nil {
		return fmt.Errorf("choosing envoy's core: %w", err)
	}
	started := cmd.Start()
	if err := unix.SchedSetaffinity(0, &c.load); err != nil {
		return fmt.Errorf("returning to the cores of the load: %w", err)
	}
	return started
}
