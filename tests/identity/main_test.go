// Package identity follows the identity of two workloads over time, with real
// processes and certificates that live for seconds: renewals, a control plane
// that is killed and comes back, certificates that end, a workload that reboots,
// a root that is replaced under load, and clocks that are wrong.
//
// It must never leave a process behind, and never call something closed or
// healed because a certificate says so: connections of an application decide.
package identity

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

// The short form is what make test runs; make identity runs a longer one.
var (
	life = flag.Duration("life", 20*time.Second, "how long certificates live; each second of it is several of the test")
	rate = flag.Int("rate", 200, "new connections per second while the root is replaced, each with a handshake")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(rig.Main("identity", filepath.Join("..", ".."), &programs, m.Run))
}
