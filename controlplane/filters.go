package controlplane

import (
	"context"
	"errors"
	"os"

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
