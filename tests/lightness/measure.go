package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
	"github.com/wasmesh/wasmesh/tests/rig/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	// samples is how often memory is read during the load.
	samples = 20
	// warmup is sent first: what is needed once is in memory then.
	warmup = 20_000
	// settle is what Envoy takes to give unused memory back, which it does every
	// second.
	settle = 4 * time.Second
)

// bars are what a build of a compiler may cost.
type bars struct {
	memory int // bytes
	active time.Duration
}

func barsOf(compiler string) (bars, error) {
	switch compiler {
	case module.Go:
		return bars{100 << 20, 2500 * time.Millisecond}, nil
	case module.TinyGo:
		return bars{40 << 20, 300 * time.Millisecond}, nil
	}
	return bars{}, fmt.Errorf("the module was made by %s, for which there are no bars", compiler)
}

// maxGrowth is what memory may differ by from the first fifth of the load to the
// last: allocators' leftovers, in bytes.
const maxGrowth = 2 << 20

// figures are what was measured of one module.
type figures struct {
	compiler string
	size     int
	active   []time.Duration
	memory   []int // after each start and warmup
	// soak is memory during the long load, sampled at equal steps, and took its
	// length.
	soak []int
	took time.Duration
}

// measure starts the sidecar several times, and loads the last one for long.
func measure(ctx context.Context, programs rig.Programs, o options, progress io.Writer) (figures, error) {
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		return figures{}, err
	}
	f := figures{compiler: module.Compiler(wasm), size: len(wasm)}
	for i := range o.starts {
		s, err := start(ctx, programs)
		if err != nil {
			return f, err
		}
		err = f.one(ctx, s, store.Digest(wasm))
		if err == nil && i == o.starts-1 {
			err = f.long(ctx, s, o.requests, progress)
		}
		if stopped := s.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			return f, err
		}
		fmt.Fprintf(progress, "%s: active after %v, %s MB\n", f.compiler, f.active[i].Round(10*time.Millisecond), megabytes(f.memory[i]))
	}
	return f, nil
}

// one takes the figures of one start.
func (f *figures) one(ctx context.Context, s *sidecar, digest string) error {
	if err := s.mesh.Runs(ctx, workload, digest); err != nil {
		return err
	}
	if err := s.load(ctx, warmup); err != nil {
		return err
	}
	memory, err := s.settled(ctx)
	f.active, f.memory = append(f.active, s.active), append(f.memory, memory)
	return err
}

// long loads the sidecar and looks at its memory on the way.
func (f *figures) long(ctx context.Context, s *sidecar, requests int, progress io.Writer) error {
	begun := time.Now()
	for i := range samples {
		if err := s.load(ctx, requests/samples); err != nil {
			return err
		}
		memory, err := anonymous(s.envoy)
		if err != nil {
			return err
		}
		f.soak = append(f.soak, memory)
		fmt.Fprintf(progress, "%s: %d requests, %s MB\n", f.compiler, (i+1)*(requests/samples), megabytes(memory))
	}
	f.took = time.Since(begun)
	return nil
}

// settled is the memory without what Envoy is about to give back.
func (s *sidecar) settled(ctx context.Context) (int, error) {
	select {
	case <-time.After(settle):
		return anonymous(s.envoy)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// growth compares the last fifth of the long load with the first.
func (f figures) growth() int {
	fifth := len(f.soak) / 5
	return median(f.soak[len(f.soak)-fifth:]) - median(f.soak[:fifth])
}

func median[T int | time.Duration](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func megabytes(n int) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }
