// Command admissions measures what an injector costs: pods per second of its own
// CPU, and how long the API server waits for it.
//
// The injector is a process of its own, asked over TLS as an API server asks; a
// fake plays the API server's part of the certificate only. It reports what it
// measured, and never passes or fails on a figure.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/tests/usage"
)

// serveWord as the only argument makes this program the injector.
const serveWord = "serve"

// rounds are how many ask at a time.
var rounds = []int{1, 8}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		stop()
		fmt.Fprintln(os.Stderr, "admissions:", err)
		os.Exit(2)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == serveWord {
		return serve(ctx, stdout)
	}
	flags := flag.NewFlagSet("admissions", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pods := flags.Int("pods", 5000, "pods that are admitted in each round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pods < 100 || flags.NArg() > 0 {
		return errors.New("--pods must be 100 at least, and there are no arguments")
	}
	i, err := startInjector(ctx, stderr)
	if err != nil {
		return err
	}
	defer i.stop()
	fmt.Fprintf(stdout, "%s, %d CPUs; pods of %d bytes in their review, 3 containers, 6 probes\n\n", runtime.Version(), runtime.NumCPU(), len(review()))
	fmt.Fprintf(stdout, "%8s %8s %16s %10s %10s %10s %10s\n", "at once", "pods", "per CPU second", "per second", "p50", "p99", "slowest")
	if _, err := i.measure(ctx, 1, *pods/5); err != nil { // to warm up
		return err
	}
	for _, clients := range rounds {
		r, err := i.measure(ctx, clients, *pods)
		if err != nil {
			return err
		}
		n := len(r.took)
		fmt.Fprintf(stdout, "%8d %8d %16.0f %10.0f %10v %10v %10v\n", clients, n, float64(n)/r.cpu.Seconds(), float64(n)/r.wall.Seconds(),
			r.took[n/2].Round(10*time.Microsecond), r.took[n*99/100].Round(10*time.Microsecond), r.took[n-1].Round(10*time.Microsecond))
	}
	return nil
}

// injector is one that runs.
type injector struct {
	cmd *exec.Cmd
	at  place
	tls *tls.Config
}

// place is what an injector tells of itself in its first line.
type place struct {
	URL    string `json:"url"`
	Server string `json:"server"` // in its certificate
	Bundle []byte `json:"bundle"`
}

func startInjector(ctx context.Context, stderr io.Writer) (*injector, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, serveWord)
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the injector: %w", err)
	}
	i := &injector{cmd: cmd}
	roots := x509.NewCertPool()
	if err := json.NewDecoder(out).Decode(&i.at); err != nil || !roots.AppendCertsFromPEM(i.at.Bundle) {
		i.stop()
		return nil, fmt.Errorf("the injector did not say where it is: %w", err)
	}
	i.tls = &tls.Config{RootCAs: roots, ServerName: i.at.Server, MinVersion: tls.VersionTLS12}
	return i, nil
}

func (i *injector) stop() {
	_ = i.cmd.Process.Kill()
	_ = i.cmd.Wait()
}

// result of a round; took is sorted.
type result struct {
	took      []time.Duration
	cpu, wall time.Duration
}

// measure has pods admitted, some at a time.
func (i *injector) measure(ctx context.Context, clients, pods int) (result, error) {
	a := newAsker(i)
	defer a.close()
	before, err := usage.CPU(i.cmd.Process.Pid)
	if err != nil {
		return result{}, err
	}
	began := time.Now()
	took, err := a.askAll(ctx, clients, pods)
	wall := time.Since(began)
	if err != nil {
		return result{}, err
	}
	after, err := usage.CPU(i.cmd.Process.Pid)
	slices.Sort(took)
	return result{took, after - before, wall}, err
}
