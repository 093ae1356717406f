// Package scope proves on a real mesh what an edit costs and whom it concerns:
// how long it takes from the file to Envoy, that no byte goes to a sidecar
// without a part in it, and that what a caller may not call is refused by its
// own sidecar, in the destination's words.
//
// It judges no policy: the scenarios do. It must never leave a process behind,
// and never wait without a bound.
package scope

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

// edits is how many edits are timed; make edits takes 200.
var edits = flag.Int("edits", 24, "how many edits are timed")

// slowest is what is demanded of the slowest but one in a hundred. A busy
// machine is given room; make edits demands what is promised.
var slowest = flag.Duration("slowest", 0, "fail if the 99th percentile is slower (default: 2s)")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(rig.Main("scope", filepath.Join("..", ".."), &programs, m.Run))
}
