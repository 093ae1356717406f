// Package demo runs the bookstore on one machine: a control plane, five sidecars
// and five applications as child processes, and a screen that shows who calls
// whom.
//
// It is a rig for people and for checks. It only starts what was built and asks
// the parts what they see: it must never decide about a request, never write to
// the folder of manifests, and never leave a process behind.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
)

// Options say where everything is.
type Options struct {
	// Source is the folder of manifests.
	Source string
	// Bin is the folder of the binaries.
	Bin string
	// Tools is where a fetched Envoy is kept.
	Tools string
	// Work is the folder for logs and state. Empty: a new one, removed at the end.
	Work string
	// Progress is told each step of the start, as a line; nil for nobody.
	Progress io.Writer
}

// Run shows the bookstore on out until ctx ends or something breaks. A terminal
// gets a screen, anything else a line every few seconds. Closing the terminal
// ends the demo too.
func Run(ctx context.Context, o Options, out io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	if o.Progress == nil {
		o.Progress = out
	}
	m, err := Start(ctx, o)
	if err != nil {
		if interrupted(ctx, err) {
			return nil
		}
		return err
	}
	err = m.show(out)
	fmt.Fprintln(out, "stopping")
	if interrupted(ctx, err) {
		err = nil
	}
	return errors.Join(err, m.Stop())
}

// interrupted reports whether err is only that the user has seen enough.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
}
