package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a part of the control plane gets to end by itself.
const stopTimeout = 10 * time.Second

// process is one part of the control plane. It can be stopped and started again.
type process struct {
	name    string
	program string
	args    []string
	log     string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.program, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = filepath.Dir(p.log)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w; build it with tests/e2e/tools/build", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // who waits for it to be ready reads the log
		close(ended)
	}()
	p.cmd, p.ended = cmd, ended
	return nil
}

// stop ends the process with the signal, and by force if that takes too long.
func (p *process) stop(with syscall.Signal) {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(with) // it may have ended
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
		<-ended
	}
}

// ready asks probe until it is content.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.tail())
		case <-p.ended:
			return errors.Join(fmt.Errorf("%s ended:\n%s", p.name, p.tail()), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail gives the last lines of the log.
func (p *process) tail() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-15):], []byte("\n"))
}
