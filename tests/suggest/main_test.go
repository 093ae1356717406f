// Package suggest proves on a real mesh that applying what `wasmesh suggest`
// prints changes no answer: what was seen is still allowed, and what was not
// seen is denied.
//
// Control plane, sidecars, Envoys and the command are those that ship. It must
// never leave a process behind and never skip.
package suggest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("suggest", filepath.Join("..", ".."), &programs, m.Run))
}
