// Command wasmesh-sidecar runs one Envoy as a member of the mesh, beside one
// workload. It is a program of its own to stay small: flags and wiring are here,
// everything else is in injector/sidecar, and it must never import Kubernetes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// Exit codes: what a script may rely on.
const (
	exitFine   = 0 // it was asked to stop, and did
	exitFailed = 1 // refused by the mesh, or Envoy ended by itself
	exitUsage  = 2 // it could not start
)

const (
	tokenVariable = "WASMESH_JOIN_TOKEN"
	maxTokenFile  = 4 << 10 // bytes; of a join token
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := sidecar.Options{Stdout: stdout, Stderr: stderr}
	tokenFile, tools, err := parse(args, &o, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitFine
	}
	if err == nil {
		o.Log = slog.New(slog.NewTextHandler(stderr, nil))
		err = setProof(&o, tokenFile)
	}
	if err == nil && o.Envoy == "" {
		var found envoy.Envoy
		found, err = envoy.Find(ctx, tools)
		o.Envoy = found.Path
	} else if err == nil {
		_, err = envoy.Inspect(ctx, o.Envoy)
	}
	if err != nil {
		fmt.Fprintln(stderr, "wasmesh-sidecar:", err)
		return exitUsage
	}
	if err := sidecar.Run(ctx, o); err != nil {
		fmt.Fprintln(stderr, "wasmesh-sidecar:", err)
		return exitFailed
	}
	return exitFine
}

func parse(args []string, o *sidecar.Options, stderr io.Writer) (tokenFile, tools string, err error) {
	f := flag.NewFlagSet("wasmesh-sidecar", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.JoinURL, "join-url", "", "where to join: https://host:port of the control plane")
	f.StringVar(&o.XDS, "xds", "", "where Envoy gets its configuration: host:port of the control plane")
	f.StringVar(&tokenFile, "token-file", "", "file with the join token, needed once (default: the environment variable "+tokenVariable+"); with --roots-file, one that is kept fresh")
	f.StringVar(&o.RootsFile, "roots-file", "", "file with the roots of the mesh, in PEM, that the platform keeps beside the token of this pod (default: join by a join token)")
	f.StringVar(&o.StateDir, "state", "", "folder that keeps the renewal credential between runs; one per sidecar")
	f.StringVar(&o.RunDir, "run", "", "folder in memory for the key while running (default: one in $XDG_RUNTIME_DIR or /dev/shm)")
	f.StringVar(&o.Registry, "registry", "", "where modules are fetched: host:port of the control plane (default: nowhere, they are in --modules)")
	f.StringVar(&o.ModulesDir, "modules", "", "folder that keeps the filter modules, each as <sha256>.wasm (default: STATE/modules)")
	f.StringVar(&o.Envoy, "envoy", "", "the Envoy binary, "+envoy.Minimum+" or newer (default: "+envoy.PathVariable+", then PATH, then fetched)")
	f.StringVar(&tools, "tools", ".tools", "folder that keeps a fetched Envoy; empty: never fetch one")
	f.IntVar(&o.Concurrency, "concurrency", 2, "Envoy's worker threads")
	f.StringVar(&o.LogLevel, "log-level", "warning", "Envoy's log level: "+strings.Join(levels, ", "))
	f.DurationVar(&o.Drain, "drain-time", 2*time.Second, "how long open requests may take to finish at the end")
	f.StringVar(&o.Health, "health", "", "address at which a kubelet asks how the sidecar is: /ready and /healthy (default: nowhere)")
	f.StringVar(&o.Probes, "probes", "", "address at which a kubelet has the application probed (default: nowhere)")
	f.StringVar(&o.PodIP, "pod-ip", os.Getenv("POD_IP"), "address at which the application is probed (default: the environment variable POD_IP)")
	f.Func("app-probes", "what is done to the application for a path of --probes, as JSON", func(text string) error { return json.Unmarshal([]byte(text), &o.AppProbes) })
	if err := f.Parse(args); err != nil {
		return "", "", err
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; there are flags only", f.Arg(0))
	case o.JoinURL == "" || o.XDS == "" || o.StateDir == "":
		err = errors.New("--join-url, --xds and --state are needed; --help lists all flags")
	case o.RootsFile != "" && tokenFile == "":
		err = errors.New("--roots-file needs --token-file: the token that the platform keeps fresh")
	case len(o.AppProbes) > 0 && o.PodIP == "":
		err = errors.New("--app-probes needs --pod-ip: where the application is")
	case o.Concurrency < 1:
		err = fmt.Errorf("--concurrency %d: at least one worker is needed", o.Concurrency)
	case o.Drain < 0:
		err = fmt.Errorf("--drain-time %v is negative", o.Drain)
	case !slices.Contains(levels, o.LogLevel):
		err = fmt.Errorf("--log-level %q is none of %s", o.LogLevel, strings.Join(levels, ", "))
	}
	return tokenFile, tools, err
}

var levels = []string{"trace", "debug", "info", "warning", "error", "critical", "off"}

// setProof says by what the sidecar proves itself. A platform's token is read
// whenever it is needed, a join token once.
func setProof(o *sidecar.Options, tokenFile string) (err error) {
	if o.RootsFile != "" {
		o.TokenFile = tokenFile
		return os.Unsetenv(tokenVariable)
	}
	o.Token, err = readToken(tokenFile, o.Log)
	return err
}

// readToken takes the token out of the environment, so that no child sees it. A
// file that is gone is no error: after the first start nobody needs it.
func readToken(file string, log *slog.Logger) (string, error) {
	token := os.Getenv(tokenVariable)
	if err := os.Unsetenv(tokenVariable); err != nil {
		return "", err
	}
	if file == "" {
		return strings.TrimSpace(token), nil
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		log.Warn("there is no token file", "path", file)
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
