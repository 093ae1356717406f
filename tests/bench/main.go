// Command bench measures what it costs a sidecar to decide about a request: the
// module, beside the two forms of Envoy's own RBAC, in real Envoys that run the
// inbound side as the control plane builds it.
//
// It reports what it measured, whoever wins, and never passes or fails on a
// figure: no machine is quiet enough for that. It never measures a filter that
// it did not see allow and refuse.
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
	"regexp"
	"syscall"

	"github.com/wasmesh/wasmesh/injector/envoy"
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
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}

// options are what a run may be told.
type options struct {
	fleets      int // times that all Envoys are started anew
	rounds      int // rounds over all variants in each fleet
	requests    int // measured in each round, for each variant
	warmup      int // before the first round, for each Envoy
	connections int
	smoke       bool
	wires       []wire
	modules     []namedModule
	only        *regexp.Regexp
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{only: regexp.MustCompile("")}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.fleets, "fleets", 4, "times that all Envoys are started anew")
	flags.IntVar(&o.rounds, "rounds", 4, "rounds over all variants in each fleet")
	flags.IntVar(&o.requests, "requests", 5000, "requests measured per variant in each round")
	flags.IntVar(&o.warmup, "warmup", 2000, "requests before the first round of a fleet")
	flags.IntVar(&o.connections, "connections", 16, "connections to each Envoy, each with one request at a time")
	o.wires = []wire{plaintext, mutualTLS}
	flags.Func("wire", "plain or mtls: measure on this alone", func(s string) error {
		if o.wires = []wire{wire(s)}; s != string(plaintext) && s != string(mutualTLS) {
			return errors.New("there are plain and mtls")
		}
		return nil
	})
	flags.BoolVar(&o.smoke, "smoke", false, "prove in seconds that the benchmark works; its figures mean nothing")
	flags.Func("module", "`[name=]path` of a compiled module instead of a build from source; repeat it to compare", func(s string) error {
		o.modules = append(o.modules, parseModule(s))
		return nil
	})
	flags.Func("variants", "`regexp`: measure only variants whose name it matches", func(s string) (err error) {
		o.only, err = regexp.Compile(s)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.smoke {
		o.fleets, o.rounds, o.requests, o.warmup, o.connections = 1, 2, 100, 20, 4
	}
	if min(o.fleets, o.rounds, o.requests, o.connections) < 1 || o.warmup < 0 {
		return o, errors.New("the counts must be positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	root, err := repository()
	if err != nil {
		return err
	}
	binary, err := envoy.Find(ctx, envoy.ToolsDir(root))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wasmesh-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	modules, err := install(ctx, root, dir, o.modules)
	if err != nil {
		return err
	}
	o.modules = modules
	c, err := splitCores()
	if err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	for _, w := range o.wires {
		if err := runOn(ctx, w, o, dir, binary, c, stdout, stderr); err != nil {
			return err
		}
	}
	return nil
}

// runOn measures all variants on one wire.
func runOn(ctx context.Context, w wire, o options, dir string, binary envoy.Envoy, c cores, stdout, stderr io.Writer) error {
	all := variants(w, o.modules, o.smoke, o.only)
	b, err := newBench(o, dir, binary, c, all)
	if err != nil {
		return err
	}
	defer b.close()
	results, err := b.measure(ctx, stderr)
	if err != nil {
		return err
	}
	return report(stdout, w, machine{envoy: binary.Version, cores: b.cores}, o, results)
}

// repository returns the folder of this module, the nearest one above that has
// a go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			err = errors.New("no go.mod here or above; run it inside the checkout")
		}
		dir = parent
	}
	return "", err
}
