// Package identity follows the identity of two workloads over time, with real
// processes and certificates that live for seconds: renewals, a control plane
// that is killed and comes back, certificates that end, a workload that reboots,
// a root that is replaced under load, and clocks that are wrong.
//
// It must never leave a process behind, and never call something closed or
// healed because a certificate says so: connections of an application decide.
package identity

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	os.Exit(rig.Main("identity", filepath.Join("..", ".."), &programs, m.Run))
}
