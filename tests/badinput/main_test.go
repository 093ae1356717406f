// Package badinput gives a real mesh what it should not be given: manifests that
// are broken, modules that do not start, tokens that do not hold, folders that
// cannot be written to, resources that Envoy refuses. Each test wants three
// things: what worked goes on working, the cause is told, and it heals.
//
// The control plane, the sidecar processes and their Envoys are those that ship.
// It must never leave a process behind, never skip, and never count a denied
// request that got through as anything but a failure.
package badinput

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("badinput", filepath.Join("..", ".."), &programs, m.Run))
}
