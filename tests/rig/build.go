package rig

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/tests/rig/module"
)

const project = "github.com/wasmesh/wasmesh"

// Programs are the files that a mesh consists of.
type Programs struct {
	// Wasmesh is the command, Sidecar wasmesh-sidecar.
	Wasmesh, Sidecar string
	// Module is the filter module that every sidecar runs.
	Module string
	Envoy  string
}

// Build compiles what is in the source tree into dir, so that no test judges a
// binary of yesterday, takes the module that is under test, and finds an Envoy, if need be by fetching it into the
// tools of the tree whose top folder is root.
func Build(ctx context.Context, dir, root string) (Programs, error) {
	p := Programs{
		Wasmesh: filepath.Join(dir, "wasmesh"),
		Sidecar: filepath.Join(dir, "wasmesh-sidecar"),
	}
	commands := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), project, project+"/injector/wasmesh-sidecar")
	if out, err := commands.CombinedOutput(); err != nil {
		return p, fmt.Errorf("building wasmesh and wasmesh-sidecar: %w: %s", err, bytes.TrimSpace(out))
	}
	var err error
	if p.Module, err = module.UnderTest(ctx, dir); err != nil {
		return p, err
	}
	found, err := envoy.Find(ctx, envoy.ToolsDir(root))
	if err != nil {
		return p, err
	}
	// Sidecars start it in a folder of their own.
	p.Envoy, err = filepath.Abs(found.Path)
	return p, err
}
