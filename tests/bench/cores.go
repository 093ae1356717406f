package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// cores is who runs where: the Envoy that is measured has a core of its own,
// so that its load never takes it off. Only while it starts it has all.
type cores struct {
	all, envoy, load unix.CPUSet
	// apart is false where there is only one core for both.
	apart bool
}

// splitCores gives the last core this process may use to Envoy, as the first
// ones take most of the interrupts, and the others to this process.
func splitCores() (cores, error) {
	var c cores
	if err := unix.SchedGetaffinity(0, &c.all); err != nil {
		return cores{}, fmt.Errorf("reading the cores of this process: %w", err)
	}
	c.load = c.all
	if c.all.Count() < 2 {
		c.envoy = c.all
		return c, nil
	}
	c.apart = true
	last := len(c.all)*strconv.IntSize - 1
	for !c.all.IsSet(last) {
		last--
	}
	c.envoy.Set(last)
	c.load.Clear(last)
	return c, nil
}

// settle moves this process to the cores of the load.
func (c cores) settle() error {
	runtime.GOMAXPROCS(c.load.Count())
	return move(os.Getpid(), c.load)
}

// move puts every thread of a process on the cores; threads that come later
// inherit them from the one that makes them.
func move(pid int, to unix.CPUSet) error {
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &to); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("moving thread %d to its cores: %w", id, err)
		}
	}
	return nil
}
