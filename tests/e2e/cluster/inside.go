// Package cluster boots a real Kubernetes control plane (etcd, API server,
// controller manager, scheduler) for one run of the end to end tests, in Linux
// namespaces of its own, with nodes whose pods are processes. It is for tests
// only: it must never touch the machine's own network, mounts or processes, and
// never leave anything behind, not even when it is killed.
package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideVariable tells the second start of the test program that it is the one
// in the namespaces.
const insideVariable = "WASMESH_E2E_INSIDE"

// Home is where everything of a run is kept: a tmpfs that only the run sees, and
// that ends with it.
const Home = "/mnt"

// Inside says whether this process is the one in namespaces of its own.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Reenter starts this program once more as process 1 of new namespaces and
// returns its exit code. When either of the two ends, however it ends, the kernel
// ends every process of the namespaces and takes down networks and mounts.
func Reenter() (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("the end to end tests make network namespaces: run them as root")
	}
	// The parent's death is the death of the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.Env = append(os.Environ(), insideVariable+"=1")
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := self.Start(); err != nil {
		return 1, fmt.Errorf("namespaces of its own: %w", err)
	}
	go func() {
		for s := range signals {
			_ = self.Process.Signal(s) // it may have ended
		}
	}()
	err := self.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return self.ProcessState.ExitCode(), nil
}

// Settle makes the new namespaces usable: mounts that do not spread, a /proc of
// its own, Home, and loopback.
func Settle() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"wmrig", Home, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
