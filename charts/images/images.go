// Package images says what the chart's two container images are made of: there is
// no shell in them and no package manager.
//
// It builds nothing, and never names anything of the machine that does.
package images

import "path"

// Base is what images are built on: the image that the Envoy project publishes,
// for the programs of the mesh too, since every node that runs a sidecar has it.
const Base = "envoyproxy/envoy:distroless-v1.40.0"

// Module is where the programs expect the filter module.
const Module = "/usr/local/share/wasmesh/mesh.wasm"

// Program is one that an image has in /usr/local/bin.
type Program struct{ Name, Source string }

// Path is where the program is in its image.
func (p Program) Path() string { return "/usr/local/bin/" + p.Name }

// Image is one that the chart runs.
type Image struct {
	// Name is the last part of its repository.
	Name string
	// Programs are what it has; the first is what it runs.
	Programs []Program
	// Module says that the filter module is in it.
	Module bool
	// Envoy says that what it runs starts Envoy.
	Envoy bool
	// User is the number of the account it runs as, where a pod says nothing.
	User int64
}

// All returns both images.
func All() []Image {
	return []Image{{
		Name:     "wasmesh",
		Programs: []Program{{"wasmesh", "."}},
		Module:   true, User: 65532,
	}, {
		Name:     "sidecar",
		Programs: []Program{{"wasmesh-sidecar", "./injector/wasmesh-sidecar"}, {"wasmesh-redirect", "./injector/wasmesh-redirect"}},
		Envoy:    true, User: 1337,
	}}
}

// Files maps the paths in the image to files of this machine: programs are in the
// folder by their names, the module is where module says.
func (i Image) Files(folder, module string) map[string]string {
	files := map[string]string{}
	for _, p := range i.Programs {
		files[p.Path()] = path.Join(folder, p.Name)
	}
	if i.Module {
		files[Module] = module
	}
	return files
}
