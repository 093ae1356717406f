package controlplane

import (
	"fmt"
	"os"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// ownCandidate reads the mesh's own module.
func ownCandidate(file string, s *mesh.Snapshot) candidate {
	c := candidate{await: true, Wanted: modules.Wanted{
		Object: ownModule, Where: file, Starts: configurations(s),
		Without: "every sidecar denies until there is a good one.", Try: "Build it again with `make module`.",
	}}
	var err error
	if c.wasm, err = readModule(file); err != nil {
		c.Unread = err.Error()
		return c
	}
	c.Use.Digest = store.Digest(c.wasm)
	return c
}

// readModule reads no more than a module can have.
func readModule(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > module.MaxBytes {
		return nil, fmt.Errorf("the module has %d bytes; at most %d are accepted", info.Size(), module.MaxBytes)
	}
	return os.ReadFile(file)
}

// configurations are what the module will be given: each form, with a policy of
// the mesh or, without workloads, an empty one.
func configurations(s *mesh.Snapshot) [][]byte {
	table := xds.Table(s, mesh.Workload{}).Encode()
	if len(s.Workloads) > 0 {
		table = xds.Table(s, s.Workloads[0]).Encode()
	}
	return [][]byte{
		config.Config{Form: config.Access, Destination: identity.Workload{Namespace: "inspection", Kind: "inspection", Name: "inspection"}, Table: table}.Encode(),
		config.Config{Form: config.Connections, Destination: identity.Workload{Namespace: "inspection", Kind: "inspection", Name: "inspection"}, Table: table}.Encode(),
		config.Config{Form: config.Lifetime, Destination: identity.Workload{Namespace: "inspection", Kind: "inspection", Name: "inspection"}}.Encode(),
	}
}
