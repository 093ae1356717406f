// Package usage tells what a process of this machine has used, as Linux counts it.
//
// It is for figures that people read. It never starts, stops or slows a process.
package usage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The fields of Memory.
const (
	Resident  = "VmRSS"
	Peak      = "VmHWM"
	Anonymous = "RssAnon"
)

// CPU is the processor time that a process has used, all threads together.
func CPU(pid int) (time.Duration, error) {
	// Each process has a clock, whose number holds the process id, inverted. It
	// counts nanoseconds, where /proc/PID/stat counts hundredths of a second.
	const schedulerClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, fmt.Errorf("the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Memory is what a process holds, in bytes: the field of /proc/PID/status.
func Memory(pid int, field string) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("the memory of process %d: the kernel does not tell its %s", pid, field)
}
