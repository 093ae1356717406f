package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where the figures come from; without it they mean nothing.
type machine struct {
	envoy string // version
	cores cores
}

func (m machine) String() string {
	where := "Envoy on a core of its own, the load on the others"
	if !m.cores.apart {
		where = "Envoy and its load on the same core, which disturbs the figures"
	}
	return fmt.Sprintf("Machine: %s, Linux %s, Envoy %s, %s %s; %s.",
		processor(), kernel(), m.envoy, runtime.Version(), runtime.GOARCH, where)
}

// processor is the model that the kernel tells; not every architecture has one.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}
