package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one child. It leads a process group of its own.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	// done is closed when it has ended; ended says how.
	done  chan struct{}
	ended error
	asked atomic.Bool
}

// starter forks from one thread that lives as long as it does: the kernel ends a
// child with the thread that forked it, and Go ends threads as it likes.
type starter struct {
	jobs    chan func()
	stopped chan struct{}
}

func newStarter() *starter {
	s := &starter{jobs: make(chan func()), stopped: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with us
		defer close(s.stopped)
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// close ends the thread, and with it whatever it has started.
func (s *starter) close() {
	close(s.jobs)
	<-s.stopped
}

// start runs a program with its output in a file. broken hears of it if the
// program ends before it was asked to.
func (s *starter) start(name, log, program string, args []string, broken context.CancelCauseFunc) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer out.Close()
	p := &process{name: name, log: log, done: make(chan struct{}), cmd: exec.Command(program, args...)}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = endsWithParent()
	result := make(chan error)
	s.jobs <- func() { result <- p.cmd.Start() }
	if err := <-result; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.ended = p.cmd.Wait()
		close(p.done)
		if !p.asked.Load() {
			broken(fmt.Errorf("%s ended by itself (%s); it said last:\n%s", name, p.cmd.ProcessState, p.tail()))
		}
	}()
	return p, nil
}

// ask tells the process to end.
func (p *process) ask() {
	p.asked.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
}

// end waits until the process has ended, and kills its group after the limit.
func (p *process) end(limit time.Duration) error {
	select {
	case <-p.done:
		var exit *exec.ExitError
		if errors.As(p.ended, &exit) {
			return fmt.Errorf("%s ended with %w; it said last:\n%s", p.name, p.ended, p.tail())
		}
		return p.ended
	case <-time.After(limit):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %v and was killed; it said last:\n%s", p.name, limit, p.tail())
	}
}

func (p *process) tail() string { return tail(p.log) }

const tailLines = 15

// tail returns the last lines of a log.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "    " + strings.Join(lines, "\n    ")
}
