package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const (
	// firstWait bounds how long a control plane that starts waits for the modules
	// of filters: sidecars that outlived the one before must not be told that
	// there are none. A registry that is gone must not hold up the mesh, though.
	firstWait = 20 * time.Second
	// fetchAgain is when a module that could not be got is tried once more.
	fetchAgain = 5 * time.Second
)

// attachments are the modules of users' filters: what each runs, and what is on
// its way. A filter changes its module and its configuration together, once both
// were seen to start, and keeps what it has until then. It belongs to the loop.
type attachments struct {
	// get fetches a module and tries it; it returns errPassing for what may pass.
	get  func(context.Context, mesh.Filter) (xds.Attached, error)
	log  *slog.Logger
	good map[mesh.Name]xds.Attached
	work map[mesh.Filter]*attempt
	// begun is set once the first wait is over.
	begun bool
}

// attempt is the work to get what a filter wants. It goes on until that is there
// or can never be. found tells the outcome of each try; outcome is the last one
// that was heard.
type attempt struct {
	cancel  context.CancelFunc
	found   chan outcome
	outcome *outcome
}

type outcome struct {
	attached xds.Attached
	err      error
}

// errPassing wraps what is not a module's fault, and may pass.
var errPassing = errors.New("it is tried again every few seconds")

func newAttachments(get func(context.Context, mesh.Filter) (xds.Attached, error), log *slog.Logger) *attachments {
	return &attachments{get: get, log: log, good: map[mesh.Name]xds.Attached{}, work: map[mesh.Filter]*attempt{}}
}

// reload returns what the filters of a snapshot run, and what is wrong with those
// that do not run what they should. again is signalled when there is more to
// say.
func (a *attachments) reload(ctx context.Context, s *mesh.Snapshot, again chan<- struct{}) (map[mesh.Name]xds.Attached, []mesh.Problem) {
	wanted := filtersOf(s)
	a.forget(wanted)
	for _, f := range wanted {
		if f != (mesh.Filter{Name: f.Name}) && a.work[f] == nil {
			a.work[f] = a.begin(ctx, f, again)
		}
	}
	if !a.begun {
		a.await(ctx, wanted)
		a.begun = true
	}
	var problems []mesh.Problem
	for name, f := range wanted {
		if w := a.work[f]; w != nil && w.known() {
			if w.outcome.err == nil {
				a.good[name] = w.outcome.attached
			} else {
				problems = append(problems, a.problem(s, f, w.outcome.err))
			}
		}
	}
	slices.SortFunc(problems, func(x, y mesh.Problem) int { return x.Object.Name.Compare(y.Object.Name) })
	return maps.Clone(a.good), problems
}

// filtersOf are the filters that stand somewhere, without what makes no
// difference to what they run.
func filtersOf(s *mesh.Snapshot) map[mesh.Name]mesh.Filter {
	out := map[mesh.Name]mesh.Filter{}
	for _, w := range s.Workloads {
		for _, f := range w.Filters {
			f.Pass = false
			out[f.Name] = f
		}
	}
	return out
}

// forget ends attempts that nobody wants any more, and what no filter runs.
func (a *attachments) forget(wanted map[mesh.Name]mesh.Filter) {
	for f, w := range a.work {
		if wanted[f.Name] != f {
			w.cancel()
			delete(a.work, f)
		}
	}
	maps.DeleteFunc(a.good, func(n mesh.Name, _ xds.Attached) bool {
		_, there := wanted[n]
		return !there
	})
}

func (a *attachments) begin(ctx context.Context, f mesh.Filter, again chan<- struct{}) *attempt {
	a.log.Info("the module of a filter is being fetched and tried", "filter", f.Name.String(), "image", f.Image, "module", f.Module)
	ctx, cancel := context.WithCancel(ctx)
	w := &attempt{cancel: cancel, found: make(chan outcome, 1)}
	go func() {
		defer close(w.found)
		for {
			attached, err := a.get(ctx, f)
			select {
			case w.found <- outcome{attached, err}:
			case <-ctx.Done():
				return
			}
			signal(again)
			if !errors.Is(err, errPassing) || !sleep(ctx, fetchAgain) {
				return
			}
		}
	}()
	return w
}

// sleep reports whether the time went by before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *attachments) await(ctx context.Context, wanted map[mesh.Name]mesh.Filter) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for _, f := range wanted {
		if w := a.work[f]; w != nil {
			select {
			case o, more := <-w.found:
				if more {
					w.outcome = &o
				}
			case <-ctx.Done(): // it is told when it is there
			}
		}
	}
}

// known reports whether an attempt has come to something, without waiting.
func (w *attempt) known() bool {
	select {
	case o, more := <-w.found:
		if more {
			w.outcome = &o
		}
	default:
	}
	return w.outcome != nil
}

// close returns when no attempt runs any more.
func (a *attachments) close() {
	for _, w := range a.work {
		w.cancel()
		for range w.found {
		}
	}
}

// problem says what becomes of requests.
func (a *attachments) problem(s *mesh.Snapshot, f mesh.Filter, err error) mesh.Problem {
	consequence := "what the filter ran before serves on."
	if _, runs := a.good[f.Name]; !runs {
		consequence = "requests are refused until it runs."
		if passes(s, f.Name) {
			consequence = "requests pass without it."
		}
	}
	try := "Mend the module or its configuration; `wasmesh module inspect --config` tries both."
	if errors.Is(err, errPassing) {
		try = "Check that the image is there and may be read; it is tried again every few seconds."
	}
	return mesh.Problem{
		Object: mesh.Object{Kind: smi.KindWasmFilter, Name: f.Name}, Field: "spec.module", Effect: mesh.Broken,
		Cause: fmt.Sprintf("%v; %s", err, consequence), Try: try,
	}
}

func passes(s *mesh.Snapshot, name mesh.Name) bool {
	for _, w := range s.Workloads {
		for _, f := range w.Filters {
			if f.Name == name {
				return f.Pass
			}
		}
	}
	return false
}
