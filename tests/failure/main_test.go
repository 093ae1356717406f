// Package failure makes the filter itself fail, inside a real Envoy with the
// product's own settings and in wazero: a panic in each callback, memory and
// stack that run out, a loop, poison again and again. It looks at what the
// poisoned stream got, what others got meanwhile, and for how long; and at the
// most that a request without poison can cost.
//
// The module is the product's, with a way to fail compiled in. The package must
// never take a request for judged that was not, and never repair what failed.
package failure

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// poisonedFile is for builds by another compiler, which may trap where this one
// recovers: what is required holds for both.
var poisonedFile = flag.String("poisoned", "", "a module with the poison of testdata compiled in (default: built with Go)")

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("failure", filepath.Join("..", ".."), &programs, m.Run))
}
