package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main is the shim: process 1 of a container, as root. It makes the container's
// file system, runs the program and whatever it is asked to, and ends with the
// program; the kernel then ends the rest.
func Main() {
	control := os.NewFile(3, "control")
	requests, reports := json.NewDecoder(control), &answers{to: json.NewEncoder(control)}
	var spec Spec
	err := requests.Decode(&spec)
	if err == nil {
		err = spec.mount()
	}
	cmd := spec.command(spec.Argv)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM)
	if err == nil {
		err = spec.launch(cmd)
	}
	if err != nil {
		reports.give(Report{Error: err.Error()})
		os.Exit(notStarted)
	}
	reports.give(Report{Started: true})
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	go func() {
		for {
			var request Request
			if requests.Decode(&request) != nil {
				os.Exit(128 + int(syscall.SIGKILL)) // who started it is gone
			}
			go func() { reports.give(spec.run(request)) }()
		}
	}()
	_ = cmd.Wait() // the state says it
	os.Exit(exitCode(cmd.ProcessState))
}

type answers struct {
	mu sync.Mutex
	to *json.Encoder
}

func (a *answers) give(r Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.to.Encode(r) // who does not read is gone
}

func (s Spec) command(argv []string) *exec.Cmd {
	cmd := &exec.Cmd{Args: argv, Env: s.Env, Dir: s.Dir}
	if len(argv) > 0 {
		cmd.Path = argv[0]
	}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     s.Root,
		Credential: &syscall.Credential{Uid: s.UID, Gid: s.GID, Groups: s.Groups},
	}
	return cmd
}

func (s Spec) run(request Request) Report {
	cmd := s.command(request.Argv)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.launch(cmd); err != nil {
		return Report{ID: request.ID, Code: notStarted, Error: err.Error()}
	}
	_ = cmd.Wait() // the state says it
	return Report{ID: request.ID, Code: exitCode(cmd.ProcessState), Output: out.Bytes()}
}

// launch starts the program on a thread that has given up what the container must
// not have. The thread is never used again.
func (s Spec) launch(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := s.restrict(); err != nil {
			done <- err
			return
		}
		path, err := s.find(cmd.Path)
		if err == nil {
			cmd.Path = path
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

// restrict drops capabilities from what this thread's children can ever get.
func (s Spec) restrict() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		kept := false
		for _, k := range s.Capabilities {
			kept = kept || k == c
		}
		if kept {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if s.NoNewPrivileges {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return nil
}
