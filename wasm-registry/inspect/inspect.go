// Package inspect really starts a module, with the configurations it is meant
// for, in a host that behaves as Envoy does, and says what is wrong with it.
//
// The module runs in a process of its own that has little memory, time and
// nothing to open: what a hostile module breaks is that process. The process
// that asks never compiles or runs a module itself, and what was refused here
// must never reach a sidecar.
package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// Argument makes a program that calls Serve inspect one module. It looks like a
// flag, so that a program which does not know it ends at once.
const Argument = "--inspect-one-module"

// ErrUnable says that nobody looked at the module: the inspection could not be
// run. Any other error is the module's.
var ErrUnable = errors.New("the module could not be inspected")

// Limits bound an inspection.
type Limits struct {
	// Compile and Start bound the time for each of the two, as a clock on the wall
	// shows it.
	Compile, Start time.Duration
	// CPU bounds the processor time of both, in whole seconds.
	CPU time.Duration
	// Guest is what the module may allocate, Process what all of it may, in bytes.
	Guest, Process uint64
}

// DefaultLimits are for a slow machine. The default module, of 3 MB, needs half of
// this memory, compiles in about two seconds and starts in tenths of one; a
// module that loops at start would hang the main thread of every sidecar.
func DefaultLimits() Limits {
	return Limits{Compile: 60 * time.Second, Start: 15 * time.Second, CPU: 60 * time.Second, Guest: 256 << 20, Process: 1 << 30}
}

// Inspector starts modules in processes of their own. The zero value runs the
// program it is in, with the default limits.
type Inspector struct {
	// Program is a program that calls Serve when its only argument is Argument:
	// wasmesh. Empty is the program that runs.
	Program string
	// Limits, if zero, are the default ones.
	Limits Limits
}

const (
	// answerBytes bounds what is read of an inspection, and errorBytes what it
	// tells of the module: a module may log without an end.
	answerBytes = 64 << 10
	errorBytes  = 4 << 10
	// overhead is for starting a process on a busy machine and handing it a module.
	overhead = 5 * time.Second
)

// Inspect starts the module once for each configuration. The error says what is
// wrong with it, and quotes what the module itself logged. It ends soon after
// ctx, and leaves no process behind.
func (i Inspector) Inspect(ctx context.Context, wasm []byte, configurations ...[]byte) error {
	if _, err := module.Read(wasm); err != nil {
		return err
	}
	if i.Limits == (Limits{}) {
		i.Limits = DefaultLimits()
	}
	if i.Program == "" {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnable, err)
		}
		i.Program = program
	}
	whole := i.Limits.Compile + i.Limits.Start + overhead
	bounded, cancel := context.WithTimeoutCause(ctx, whole, errLate)
	defer cancel()
	answer, complaint := &capped{room: answerBytes}, &capped{room: answerBytes}
	cmd := exec.CommandContext(bounded, i.Program, Argument)
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, "/", time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = ask(i.Limits, wasm, configurations), answer, complaint
	err := run(cmd)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnable, context.Cause(ctx))
	}
	return i.judge(answer.Bytes(), complaint.String(), err, errors.Is(context.Cause(bounded), errLate))
}

var errLate = errors.New("the inspection took too long")

// report is one line of what an inspection tells.
type report struct {
	// Phase is what it does next.
	Phase string `json:"phase,omitempty"`
	// Done is its end; Cause is what is wrong with the module, empty if it is good.
	Done  bool   `json:"done,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// judge makes an answer of all that is known about a process that has ended.
// Only the word that the module is good makes it good.
func (i Inspector) judge(answer []byte, complaint string, ended error, late bool) error {
	var last report
	for line := range bytes.Lines(answer) {
		var r report
		if json.Unmarshal(line, &r) != nil {
			break
		}
		if r.Done {
			return verdict(r, ended)
		}
		last = r
	}
	switch {
	case last.Phase == "":
		return fmt.Errorf("%w: %s %s says nothing (%v): %s", ErrUnable, i.Program, Argument, ended, firstLine(complaint))
	case late:
		return fmt.Errorf("it takes too long to %s", last.Phase)
	case strings.Contains(complaint, "out of memory"), strings.Contains(complaint, "cannot allocate memory"):
		return fmt.Errorf("it takes more than %d MiB of memory to %s", i.Limits.Process>>20, last.Phase)
	case killed(ended):
		return fmt.Errorf("it takes more than %v of processor time to %s", i.Limits.CPU, last.Phase)
	}
	// Measured: Go's collector can break in other ways than by saying so when the
	// system gives it no more memory.
	return fmt.Errorf("it breaks the process that inspects it, which has %d MiB of memory, when it is to %s (%v): %s",
		i.Limits.Process>>20, last.Phase, ended, firstLine(complaint))
}

// verdict believes an answer only of a process that also ended well.
func verdict(r report, ended error) error {
	switch {
	case r.Cause != "":
		return errors.New(r.Cause)
	case ended != nil:
		return fmt.Errorf("the process that inspects it ends badly: %w", ended)
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return legible(line)
}

// capped keeps the first bytes that are written to it and lets the rest go.
type capped struct {
	bytes.Buffer
	room int
}

func (c *capped) Write(p []byte) (int, error) {
	_, err := c.Buffer.Write(p[:min(len(p), max(0, c.room-c.Len()))])
	return len(p), err
}
