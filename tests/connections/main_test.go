// Package connections has real applications talk through two real sidecars:
// opaque TCP in both address families, Redis, PostgreSQL, gRPC, WebSockets and
// plaintext, and takes the right away from what is open.
//
// The control plane, the sidecar processes and their Envoys are those that ship.
// It must never leave a process behind, never skip what is not installed, and
// never take a denial on the caller's word alone: the application counts too.
package connections

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("connections", filepath.Join("..", ".."), &programs, m.Run))
}
