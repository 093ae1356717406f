// Command wasmesh is the mesh's control plane and everything a person asks it.
//
// It holds flags and wiring only: each command calls a package and prints what
// it returns. Exit codes: 0 fine, 1 the answer is no, 2 the command could not
// run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `wasmesh - a service mesh whose policies are Go code, run as Wasm in Envoy

  wasmesh demo                                  run the bookstore on this machine
  wasmesh check -f DIR                          say what is wrong with a folder of manifests
  wasmesh explain -f DIR --from ns/sa --to ns/sa[:port] METHOD PATH [-H 'name: value']
                                                say whether a request passes, and why; with
                                                --service ns/name[:port] instead of --to, also
                                                how it is split
  wasmesh xds -f DIR --proxy ns/name            print what a sidecar is told
  wasmesh hosts -f DIR --proxy ns/name          print where an application dials services
  wasmesh controlplane --source DIR             serve a folder of manifests to sidecars
  wasmesh controlplane --kubernetes             serve a cluster to sidecars
  wasmesh injector                              put sidecars into the pods of a cluster
  wasmesh inject -f FILE [-o yaml|json]         put them into manifests
  wasmesh token create --state DIR --workload ns/name
                                                make a one-time token with which a sidecar joins
  wasmesh ca rotate start|switch|finish|status  replace the root, in three steps that cut nobody off
  wasmesh status                                ask a running control plane
  wasmesh top                                   show success, rate and latency of workloads, live; --edges: of
                                                who calls whom
  wasmesh graph [-o text|dot|json|mermaid]      draw who calls whom
  wasmesh suggest [-f DIR]                      write the policy that allows what it has seen
  wasmesh module push FILE IMAGE                put a filter module into a registry or OCI layout
  wasmesh module pull IMAGE -o FILE             get one
  wasmesh module inspect FILE|IMAGE             say what one calls, and whether it starts
  wasmesh envoy                                 find or fetch Envoy, print its path

Each command tells its flags with -h.
`

// errNo is the answer "no": the command ran, and what it found is not fine.
var errNo = errors.New("no")

// command runs with its arguments and prints to the two writers.
type command func(ctx context.Context, args []string, stdout, stderr io.Writer) error

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]command{
		"demo": runDemo, "check": runCheck, "explain": runExplain, "xds": runXDS, "hosts": runHosts,
		"controlplane": runControlPlane, "token": runToken, "ca": runCA, "status": runStatus, "top": runTop, "graph": runGraph, "suggest": runSuggest, "envoy": runEnvoy,
		"inject": runInject, "injector": runInjector,
		"module": runModule, inspect.Argument: runInspection,
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(stdout, usage)
		return 0
	}
	cmd, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "wasmesh: there is no command %q\n\n%s", args[0], usage)
		return 2
	}
	switch err := cmd(ctx, args[1:], stdout, stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errNo):
		return 1
	default:
		fmt.Fprintf(stderr, "wasmesh %s: %v\n", args[0], err)
		return 2
	}
}

// flags returns the flag set of a command.
func flags(name string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("wasmesh "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f
}

// parse takes flags before, between and after plain arguments and returns the
// latter.
func parse(f *flag.FlagSet, args []string) ([]string, error) {
	var plain []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return plain, nil
		}
		plain, args = append(plain, f.Arg(0)), f.Args()[1:]
	}
}

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string { return strings.Join(*l, ", ") }

func (l *list) Set(s string) error { *l = append(*l, s); return nil }
