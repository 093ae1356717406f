package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is one child. It leads a process group of its own, so that Ctrl-C in a
// terminal reaches it through us only, and dies with us.
type Process struct {
	// Name is what people call it, and the name of its log without ".log".
	Name string
	// Log is the file that has all it printed.
	Log string
	// ID is its process id, and that of its group.
	ID int

	done     chan struct{} // closed when it has ended
	err      error         // how it ended; readable once done is closed
	stopping atomic.Bool
}

// forker starts children from one thread that lives as long as it: the kernel
// kills a child when the thread that forked it ends, not the process.
type forker struct {
	starts chan start
}

type start struct {
	cmd    *exec.Cmd
	result chan error
}

func newForker() *forker {
	f := &forker{starts: make(chan start)}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for s := range f.starts {
			s.result <- s.cmd.Start()
		}
	}()
	return f
}

// close ends the thread; whatever it started and still runs is killed.
func (f *forker) close() { close(f.starts) }

// start runs a program with its output in dir/name.log. ended is called once,
// if the process ends before it is stopped.
func (f *forker) start(dir, name, path string, args []string, ended func(*Process)) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s := start{cmd, make(chan error, 1)}
	f.starts <- s
	if err := <-s.result; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.ID = cmd.Process.Pid
	go func() {
		p.err = cmd.Wait()
		close(p.done)
		if !p.stopping.Load() {
			ended(p)
		}
	}()
	return p, nil
}

// stop asks the process to end, waits for grace, and then kills its group. The
// error says that it had to.
func (p *Process) stop(grace time.Duration) error {
	p.stopping.Store(true)
	// ESRCH: it has ended already.
	_ = syscall.Kill(p.ID, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = syscall.Kill(-p.ID, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %v of being asked and was killed; see %s", p.Name, grace, p.Log)
	}
	// Its own children should have ended before it did.
	if err := syscall.Kill(-p.ID, syscall.SIGKILL); err == nil {
		return fmt.Errorf("%s ended and left children, which were killed; see %s", p.Name, p.Log)
	}
	return nil
}

// stopAll stops processes at the same time.
func stopAll(all []*Process) error {
	failures := make([]error, len(all))
	var done sync.WaitGroup
	for i, p := range all {
		done.Go(func() { failures[i] = p.stop(stopGrace) })
	}
	done.Wait()
	return errors.Join(failures...)
}

// errEnded is what a process that ended by itself is reported with.
var errEnded = errors.New("ended by itself")

// end is the error of a process that ended before it was stopped, with the last
// lines it printed.
func (p *Process) end() error {
	how := "with exit code 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s %w (%s); it said last:\n%s", p.Name, errEnded, how, p.tail())
}

const (
	tailLines = 12
	tailBytes = 256 << 10
)

// tail returns the last lines of the log, indented.
func (p *Process) tail() string {
	lines, err := p.lines()
	if err != nil {
		return "    (its log cannot be read: " + err.Error() + ")"
	}
	return "    " + strings.Join(last(lines), "\n    ")
}

// Complaints returns the last lines of the log that are warnings or worse.
func (p *Process) Complaints() []string {
	lines, err := p.lines()
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, line := range lines {
		for _, mark := range []string{"level=WARN", "level=ERROR", "[warning]", "[error]", "[critical]", "panic"} {
			if strings.Contains(line, mark) {
				out = append(out, line)
				break
			}
		}
	}
	return last(out)
}

func last(lines []string) []string { return lines[max(len(lines)-tailLines, 0):] }

// lines returns the end of the log; the first line may be cut.
func (p *Process) lines() ([]string, error) {
	f, err := os.Open(p.Log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(info.Size()-tailBytes, 0), tailBytes))
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}
