// Command lightness measures what a build of the filter module costs an Envoy
// besides time per request: memory, whether it grows, and how long the filter
// takes to be active. The sidecar, the control plane, the certificates and the
// policy of 1,000 principals are real.
//
// It never measures a filter that it did not see allow and refuse, and never
// takes another module than the one it was given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/wasmesh/wasmesh/tests/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "lightness:", err)
		os.Exit(1)
	}
}

// options are what a run may be told.
type options struct {
	modules  []string
	requests int
	starts   int
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("lightness", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.requests, "requests", 5_000_000, "requests over which memory must not grow")
	flags.IntVar(&o.starts, "starts", 7, "times that each sidecar is started anew")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.requests < samples || o.starts < 1 {
		return o, fmt.Errorf("at least %d requests and one start are needed", samples)
	}
	for _, file := range flags.Args() {
		path, err := filepath.Abs(file)
		if err != nil {
			return o, err
		}
		o.modules = append(o.modules, path)
	}
	if len(o.modules) == 0 {
		return o, errors.New("name the files of the modules to measure")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	release, err := rig.Alone("lightness")
	if err != nil {
		return err
	}
	defer release()
	dir, err := os.MkdirTemp("", "lightness")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, err := rig.Build(ctx, dir, ".")
	if err != nil {
		return err
	}
	var all []figures
	for _, file := range o.modules {
		programs.Module = file
		f, err := measure(ctx, programs, o, stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, f)
	}
	return report(stdout, o, all)
}
