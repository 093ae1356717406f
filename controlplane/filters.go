package controlplane

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// filterObject is the wish of a filter in the book of modules.
func filterObject(name mesh.Name) mesh.Object {
	return mesh.Object{Kind: smi.KindWasmFilter, Name: name}
}

// filterCandidates are the filters that stand somewhere, each with its module if
// that is here. A filter without one wishes for nothing new: what it ran before
// serves on.
func (p *plane) filterCandidates(ctx context.Context, s *mesh.Snapshot, again chan<- struct{}) []candidate {
	var wishes []wish
	var out []candidate
	filters := filtersOf(s)
	for _, f := range filters {
		wishes = append(wishes, wish{f.Image, f.Module})
	}
	p.images.want(ctx, wishes, again)
	for _, f := range filters {
		out = append(out, p.filterCandidate(f))
	}
	return out
}

func (p *plane) filterCandidate(f mesh.Filter) candidate {
	object := filterObject(f.Name)
	c := candidate{Wanted: modules.Wanted{
		Object: object, Where: p.source.Locate(mesh.Problem{Object: object, Field: "spec.module"}),
		Starts:  [][]byte{[]byte(f.Configuration)},
		Without: "requests are refused until it runs.",
		Try:     "Mend the module or its configuration; `wasmesh module inspect --config` tries both.",
	}}
	if f.Pass {
		c.Without = "requests pass without it."
	}
	switch found := p.images.known(wish{f.Image, f.Module}); {
	case found == nil:
	case found.err != nil:
		c.Unread = found.err.Error()
		if errors.Is(found.err, errPassing) {
			c.Try = "Check that the image is there and may be read."
		}
	default:
		c.Use, c.wasm = modules.Use{Digest: found.digest, Configuration: []byte(f.Configuration)}, found.wasm
	}
	return c
}

// place is the snapshot that proxies are given: without the places of filters that
// have to wait for their module.
func (p *plane) place(s *mesh.Snapshot, wanted []candidate, again chan<- struct{}) *mesh.Snapshot {
	wishes, filters := map[mesh.Object]modules.Wanted{}, []modules.Wanted{}
	for _, c := range wanted {
		if c.Object != ownModule {
			wishes[c.Object], filters = c.Wanted, append(filters, c.Wanted)
		}
	}
	next, waiting, later := p.places.Next(s, func(filter mesh.Name) modules.Outlook {
		if w, ok := wishes[filterObject(filter)]; ok {
			return p.modules.book.Outlook(w)
		}
		return modules.Unusable
	}, time.Now())
	p.places = next
	if later > 0 {
		time.AfterFunc(later, func() { signal(again) })
	}
	underway := append(p.modules.book.Underway(filters), fetching(waiting)...)
	p.underway.Store(&underway)
	return modules.Without(s, waiting)
}

// fetching tells of filters whose module sidecars are given time to fetch.
func fetching(waiting map[modules.Place]bool) []mesh.Problem {
	workloads := map[mesh.Name]int{}
	for place := range waiting {
		workloads[place.Filter]++
	}
	var out []mesh.Problem
	for filter, n := range workloads {
		out = append(out, mesh.Problem{
			Object: filterObject(filter), Effect: mesh.Pending,
			Cause: mesh.Counted(n, "workload goes", "workloads go") + " on without it until the sidecar had time to fetch its module.",
		})
	}
	return out
}

// filtersOf are the filters that stand somewhere and name a module, each once,
// in the order in which they are met.
func filtersOf(s *mesh.Snapshot) []mesh.Filter {
	var out []mesh.Filter
	seen := map[mesh.Name]bool{}
	for _, w := range s.Workloads {
		for _, f := range w.Filters {
			if !seen[f.Name] && f.Image+f.Module != "" {
				out = append(out, f)
			}
			seen[f.Name] = true
		}
	}
	return out
}

// attached are the filters that run when those modules serve.
func (p *plane) attached(serving map[string]modules.Use) map[mesh.Name]xds.Attached {
	out := map[mesh.Name]xds.Attached{}
	for _, f := range filtersOf(p.snapshot.Load()) {
		use, ok := serving[filterObject(f.Name).String()]
		if !ok {
			continue
		}
		capabilities, err := p.capabilities(use.Digest)
		if err != nil {
			p.options.Log.Error("a filter's module cannot be read any more", "filter", f.Name.String(), "module", use.Digest, "cause", err)
			continue
		}
		out[f.Name] = xds.Attached{Module: use.Digest, Capabilities: capabilities, Configuration: string(use.Configuration)}
	}
	return out
}

// capabilities are what a module that is kept calls and answers. They are read
// once: what a digest names never changes.
func (p *plane) capabilities(digest string) ([]string, error) {
	if known, ok := p.shapes[digest]; ok {
		return known, nil
	}
	wasm, err := os.ReadFile(p.modules.store.Path(digest))
	if err != nil {
		return nil, err
	}
	shape, err := module.Read(wasm)
	if err != nil {
		return nil, err
	}
	if p.shapes == nil {
		p.shapes = map[string][]string{}
	}
	p.shapes[digest] = append(shape.Calls(), shape.Callbacks()...)
	return p.shapes[digest], nil
}
