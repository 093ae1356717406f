package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/injector/envoy"
)

// bench is what all Envoys of a run share.
type bench struct {
	options  options
	dir      string
	binary   envoy.Envoy
	cores    cores
	ids      identities
	backend  *backend
	variants []variant
}

func newBench(o options, dir string, binary envoy.Envoy, c cores, all []variant) (*bench, error) {
	ids, err := newIdentities(filepath.Join(dir, "authority"))
	if err != nil {
		return nil, err
	}
	application, err := startBackend()
	if err != nil {
		return nil, fmt.Errorf("starting the backend: %w", err)
	}
	return &bench{options: o, dir: dir, binary: binary, cores: c, ids: ids, backend: application, variants: all}, nil
}

func (b *bench) close() { b.backend.close() }

// result is what was measured of one variant.
type result struct {
	variant variant
	// cost is Envoy's CPU time per request, in µs, one figure per round; added is
	// what that is more than the bare chain's in the same round, and share is
	// added in % of the bare chain's, which speaks across machines.
	cost, added, share []float64
	// busy and kept are those of sample, one figure per round.
	busy, kept []float64
	// memory is in MB of a million bytes, after the load, and ready in seconds
	// from start to the first 200; one figure per fleet.
	memory, ready []float64
}

// measure runs all fleets. Every Envoy is started anew for each, because where
// its code and data come to lie in memory is worth as much as a small filter.
func (b *bench) measure(ctx context.Context, progress io.Writer) ([]result, error) {
	results := make([]result, len(b.variants))
	for i, v := range b.variants {
		results[i].variant = v
	}
	for n := range b.options.fleets {
		begun := time.Now()
		if err := b.fleet(ctx, results); err != nil {
			return nil, err
		}
		fmt.Fprintf(progress, "fleet %d of %d took %.0f s\n", n+1, b.options.fleets, time.Since(begun).Seconds())
	}
	return results, nil
}

// fleet starts one Envoy per variant and measures them in turns, so that
// whatever else the machine does falls on all of them.
func (b *bench) fleet(ctx context.Context, results []result) (err error) {
	var fleet []*member
	defer func() {
		for _, m := range fleet {
			if e := m.stop(); err == nil {
				err = e
			}
		}
	}()
	for i := range results {
		m, err := b.join(ctx, results[i].variant, i)
		if m != nil {
			fleet = append(fleet, m)
		}
		if err != nil {
			return fmt.Errorf("variant %q: %w", results[i].variant.name, err)
		}
		results[i].ready = append(results[i].ready, m.ready.Seconds())
	}
	for n := range b.options.rounds {
		if err := b.round(ctx, n, fleet, results); err != nil {
			return err
		}
	}
	for i, m := range fleet {
		memory, err := m.envoy.anonymous()
		if err != nil {
			return err
		}
		results[i].memory = append(results[i].memory, float64(memory)/1e6)
	}
	return nil
}

// round measures every member once, in turns forwards and backwards: a machine
// that becomes faster or slower favours nobody.
func (b *bench) round(ctx context.Context, number int, fleet []*member, results []result) error {
	samples := make([]sample, len(fleet))
	for i := range fleet {
		if number%2 == 1 {
			i = len(fleet) - 1 - i
		}
		var err error
		if samples[i], err = fleet[i].measure(ctx, b.options.requests); err != nil {
			return fmt.Errorf("variant %q: %w", fleet[i].variant.name, err)
		}
	}
	for i, s := range samples {
		bare := samples[b.bare(i)].cost
		r := &results[i]
		r.cost = append(r.cost, s.cost)
		r.added = append(r.added, s.cost-bare)
		r.share = append(r.share, 100*(s.cost-bare)/bare)
		r.busy = append(r.busy, s.busy)
		r.kept = append(r.kept, s.kept)
	}
	return nil
}

// bare is the index of the variant that asks for the same without a filter.
func (b *bench) bare(i int) int {
	return slices.IndexFunc(b.variants, func(v variant) bool {
		return v.decider == nobody && v.path == b.variants[i].path
	})
}

// address is where the i-th Envoy of a fleet accepts: the port is the
// application's, as always in the mesh, so each has a loopback address.
func (b *bench) address(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), b.backend.address.Port())
}
