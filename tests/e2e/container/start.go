package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Running is a container that was started.
type Running struct {
	cmd     *exec.Cmd
	conn    net.Conn
	done    chan struct{}
	code    int
	mu      sync.Mutex
	last    int
	waiting map[int]chan Report
}

// Start runs the program by the shim, whose output goes to the log. network runs
// a function on a thread in the container's network.
func Start(shim string, spec Spec, log *os.File, network func(func() error) error) (*Running, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "shim"), os.NewFile(uintptr(pair[1]), "shim")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	cmd := exec.Command(shim)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setpgid:    true,
	}
	err = network(cmd.Start)
	theirs.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the shim: %w", err), conn.Close())
	}
	r := &Running{cmd: cmd, conn: conn, done: make(chan struct{}), waiting: map[int]chan Report{}}
	reports := json.NewDecoder(conn)
	var first Report
	if err = json.NewEncoder(conn).Encode(spec); err == nil {
		err = reports.Decode(&first)
	}
	if err == nil && !first.Started {
		err = errors.New(first.Error)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		return nil, errors.Join(err, conn.Close())
	}
	go r.read(reports)
	go r.wait()
	return r, nil
}

func (r *Running) read(reports *json.Decoder) {
	for {
		var report Report
		if reports.Decode(&report) != nil {
			return // the container ended
		}
		r.mu.Lock()
		waiting := r.waiting[report.ID]
		delete(r.waiting, report.ID)
		r.mu.Unlock()
		if waiting != nil {
			waiting <- report
		}
	}
}

func (r *Running) wait() {
	_ = r.cmd.Wait()
	r.code = exitCode(r.cmd.ProcessState)
	r.conn.Close()
	close(r.done)
}

// Done is closed once the container has ended, with everything in it.
func (r *Running) Done() <-chan struct{} { return r.done }

// Code is the exit code, once Done is closed; a signal counts from 128.
func (r *Running) Code() int { return r.code }

// Terminate sends the program SIGTERM.
func (r *Running) Terminate() { _ = r.cmd.Process.Signal(syscall.SIGTERM) }

// Kill ends everything in the container at once.
func (r *Running) Kill() { _ = r.cmd.Process.Kill() }

// Exec runs one more program in the container and returns its exit code and what
// it printed.
func (r *Running) Exec(ctx context.Context, argv []string) (int, []byte, error) {
	answer := make(chan Report, 1)
	r.mu.Lock()
	r.last++
	request := Request{ID: r.last, Argv: argv}
	r.waiting[request.ID] = answer
	err := json.NewEncoder(r.conn).Encode(request)
	r.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	select {
	case report := <-answer:
		if report.Error != "" {
			return report.Code, report.Output, errors.New(report.Error)
		}
		return report.Code, report.Output, nil
	case <-r.done:
		return 0, nil, errors.New("the container has ended")
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func exitCode(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}
