// Package delivery swaps modules under load, and takes away what their delivery
// stands on: files, folders, content, permission. Each test wants that the last
// good module serves meanwhile, that the cause is told, and that it heals.
//
// The control plane, the sidecar processes and their Envoys are those that ship.
// It must never leave a process behind, and never count a request that failed as
// one that was not sent.
package delivery

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

var (
	swaps = flag.Int("swaps", 12, "how often the module is swapped; make swaps does it 300 times")
	rate  = flag.Int("rate", 500, "requests per second")
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("delivery", filepath.Join("..", ".."), &programs, m.Run))
}
