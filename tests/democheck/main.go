// Command democheck runs the bookstore demo as a script and compares what it
// claims with what is measured, line by line. It exits with 0 if every line
// holds, with 1 if one does not.
//
// What was answered is counted three times, by the clients, by the applications
// and by the filters in the sidecars, and must agree exactly. It must never pass
// a line that it did not measure, and it only writes to its own copy of the
// manifests.
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
	"strings"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

// limit is what the whole check may take.
const limit = 60 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := demo.Options{Progress: stdout}
	flags := flag.NewFlagSet("democheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	source := flags.String("source", "examples/bookstore", "folder of manifests, of which a copy is used")
	flags.StringVar(&o.Bin, "bin", "bin", "folder of the binaries that make builds")
	flags.StringVar(&o.Tools, "tools", ".tools", "folder to fetch Envoy into")
	flags.StringVar(&o.Work, "work", "", "folder for logs and state (default: a new one, removed at the end)")
	verbose := flags.Bool("v", false, "print each trick with its answer")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	begun := time.Now()
	c := &check{out: stdout, verbose: *verbose, begun: begun}
	if err := c.run(ctx, o, *source); err != nil {
		fmt.Fprintf(stdout, "FAIL after %d lines the check could not go on: %v\n", c.lines, err)
		return 1
	}
	took := time.Since(begun)
	c.line("-", "all of it within "+limit.String(), within(took, limit), "%.1f s", took.Seconds())
	if c.failed > 0 {
		fmt.Fprintf(stdout, "%d of %d lines failed\n", c.failed, c.lines)
		return 1
	}
	fmt.Fprintf(stdout, "all %d lines hold\n", c.lines)
	return 0
}

// run makes a copy of the manifests without any policy, starts the demo on it
// and goes through the lines. Its error is one that keeps lines from being
// measured.
func (c *check) run(ctx context.Context, o demo.Options, source string) (err error) {
	dir, err := os.MkdirTemp("", "democheck-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.files, err = copyManifests(source, filepath.Join(dir, "manifests")); err != nil {
		return err
	}
	o.Source = c.files.dir
	if _, err := c.files.removePolicy(); err != nil {
		return err
	}
	if c.mesh, err = demo.Start(ctx, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	ctx = c.mesh.Context()
	for _, step := range []func(context.Context) error{
		c.withoutPolicy, c.policyArrives, c.tricks, c.beginExpiry, c.split, c.policyLeaves, c.flips, c.impostor, c.expiry,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// check is one run.
type check struct {
	out     io.Writer
	verbose bool
	mesh    *demo.Mesh
	files   *manifests
	begun   time.Time
	expired chan expired
	lines   int
	failed  int
}

// line prints one claim with what was measured. It holds if failure is nil.
func (c *check) line(number, claim string, failure error, measured string, values ...any) {
	c.lines++
	verdict := "ok  "
	if failure != nil {
		verdict = "FAIL"
		c.failed++
	}
	fmt.Fprintf(c.out, "%s %s  %-58s %s\n", verdict, number, claim, fmt.Sprintf(measured, values...))
	if failure != nil {
		fmt.Fprintf(c.out, "        %s\n", strings.ReplaceAll(failure.Error(), "\n", "\n        "))
	}
}

// within returns nil if d is not longer than most.
func within(d, most time.Duration) error {
	if d > most {
		return fmt.Errorf("it took %v, longer than %v", d, most)
	}
	return nil
}
