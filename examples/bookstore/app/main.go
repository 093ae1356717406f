// Command bookstore-app is every application of the bookstore example: the
// buyer, the thief, the two versions of the store, and the warehouse.
//
// It knows nothing of the mesh: it dials addresses it is given and speaks plain
// HTTP. It counts what it sent and answered, so that others can compare. It must
// never retry: a retry would hide an answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// settings are the command line.
type settings struct {
	role, name, counts           string
	listen, bookstore, warehouse string
	rate                         int
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	var s settings
	flags := flag.NewFlagSet("bookstore-app", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.role, "role", "", "buyer, thief, store or warehouse")
	flags.StringVar(&s.name, "name", "", "the name that answers carry; the role if empty")
	flags.StringVar(&s.counts, "counts", "", "Unix socket that serves this program's counts")
	flags.StringVar(&s.listen, "listen", "", "address to serve at (store, warehouse)")
	flags.StringVar(&s.bookstore, "bookstore", "", "address of the bookstore (buyer, thief)")
	flags.StringVar(&s.warehouse, "warehouse", "", "address of the warehouse (store)")
	flags.IntVar(&s.rate, "rate", 10, "requests per second (buyer, thief)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(stderr, "bookstore-app:", err)
		return 1
	}
	return 0
}

// run does both jobs, the role's and the counts', until ctx ends or one fails.
func (s settings) run(ctx context.Context) error {
	if s.name == "" {
		s.name = s.role
	}
	if s.counts == "" {
		return errors.New("no socket for the counts; set -counts")
	}
	t := tally.New(s.name)
	work, setRate, err := s.work(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 2)
	go func() { done <- t.Serve(ctx, s.counts, setRate) }()
	go func() { done <- work(ctx) }()
	first := <-done
	cancel()
	return errors.Join(first, <-done)
}

// work returns what the role does, and how its rate is changed.
func (s settings) work(t *tally.Tally) (work func(context.Context) error, setRate func(int), err error) {
	noRate := func(int) {}
	switch s.role {
	case "buyer", "thief":
		if s.bookstore == "" {
			return nil, nil, fmt.Errorf("a %s needs to know where the bookstore is; set -bookstore", s.role)
		}
		plan := buyerPlan()
		if s.role == "thief" {
			plan = thiefPlan()
		}
		l := newLoad(newCaller(t, s.bookstore), plan, s.rate)
		t.SetRate(s.rate)
		return l.run, l.setRate, nil
	case "store":
		if s.warehouse == "" || s.listen == "" {
			return nil, nil, errors.New("a store needs to know where to serve and where the warehouse is; set -listen and -warehouse")
		}
		return serve(t, s.listen, storeHandler(s.name, newCaller(t, s.warehouse))), noRate, nil
	case "warehouse":
		if s.listen == "" {
			return nil, nil, errors.New("a warehouse needs to know where to serve; set -listen")
		}
		return serve(t, s.listen, warehouseHandler(s.name)), noRate, nil
	}
	return nil, nil, fmt.Errorf("role %q is unknown; use buyer, thief, store or warehouse", s.role)
}
