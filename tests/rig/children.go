package rig

import (
	"syscall"
	"time"
)

// Children starts programs that a test kills, and starts again, as it likes. They
// end with this process at the latest.
type Children struct{ starter *starter }

// NewChildren must be closed.
func NewChildren() *Children { return &Children{newStarter()} }

// Close ends, at once, what is still running.
func (c *Children) Close() { c.starter.close() }

// Child is one run of a program.
type Child struct{ process *process }

// Start runs a program with its output in the file log.
func (c *Children) Start(name, log, program string, args ...string) (*Child, error) {
	p, err := c.starter.start(name, log, program, args, func(error) {}) // Ended tells it
	if err != nil {
		return nil, err
	}
	return &Child{p}, nil
}

// PID is the process's number.
func (c *Child) PID() int { return c.process.cmd.Process.Pid }

// Ended is closed when the program has ended.
func (c *Child) Ended() <-chan struct{} { return c.process.done }

// Kill sends SIGKILL to the program alone, not to what it started, and returns
// when it has ended.
func (c *Child) Kill() {
	c.process.asked.Store(true)
	_ = syscall.Kill(c.PID(), syscall.SIGKILL) // it may have ended already
	<-c.process.done
}

// Stop asks the program to end, and kills its group after the limit, which is an
// error.
func (c *Child) Stop(limit time.Duration) error {
	c.process.ask()
	return c.process.end(limit)
}
