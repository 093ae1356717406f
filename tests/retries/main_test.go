// Package retries proves on a real mesh which failed requests a caller's sidecar
// sends to another endpoint: those that no application has got, and no others.
//
// It judges no policy, and never leaves a process behind.
package retries

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("retries", filepath.Join("..", ".."), &programs, m.Run))
}
