package controlplane

import (
	"context"
	"fmt"
	"os"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// modules is the file a module comes from and the folder it goes to. Only what
// was inspected gets there.
type modules struct {
	file      string
	store     store.Store
	inspector *module.Inspector
	// good is the digest of the module in use; refused and why, that of a file
	// that was found bad.
	good, refused string
	why           error
}

func openModules(file, dir string) (*modules, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	return &modules{file: file, store: s, inspector: module.NewInspector()}, nil
}

// reload returns the digest of the newest good module, empty if there never was
// one, and what is wrong with the file if it is not that one.
func (m *modules) reload(ctx context.Context, s *mesh.Snapshot) (string, *mesh.Problem) {
	wasm, err := os.ReadFile(m.file)
	if err != nil {
		return m.good, m.problem(err)
	}
	digest := store.Digest(wasm)
	switch digest {
	case m.good:
		return m.good, nil
	case m.refused:
		return m.good, m.problem(m.why)
	}
	if err := m.inspector.Inspect(ctx, wasm, configurations(s)...); err != nil {
		m.refused, m.why = digest, err
		return m.good, m.problem(err)
	}
	if _, err := m.store.Put(wasm); err != nil {
		return m.good, m.problem(err)
	}
	m.good = digest
	return m.good, nil
}

// problem says what becomes of the sidecars.
func (m *modules) problem(cause error) *mesh.Problem {
	effect, consequence := mesh.Broken, "the module before it keeps serving."
	if m.good == "" {
		consequence = "every sidecar denies until there is a good one."
	}
	return &mesh.Problem{
		Object: mesh.Object{Kind: "Module", Name: mesh.Name{Namespace: "wasmesh", Name: "filter"}},
		Effect: effect,
		Cause:  fmt.Sprintf("%v; %s", cause, consequence),
		Try:    "Build it again with `make module`.",
		Where:  m.file,
	}
}

// configurations are what the module will be given: the lifetime form, and a
// policy of the mesh or, without workloads, an empty one.
func configurations(s *mesh.Snapshot) [][]byte {
	table := xds.Table(s, mesh.Workload{}).Encode()
	if len(s.Workloads) > 0 {
		table = xds.Table(s, s.Workloads[0]).Encode()
	}
	return [][]byte{
		config.Config{Form: config.Access, Destination: "inspection/inspection", Table: table}.Encode(),
		config.Config{Form: config.Lifetime, Destination: "inspection/inspection"}.Encode(),
	}
}
