// Package outages takes parts of a running mesh away: it kills each process,
// fills disks, floods the control plane's ports, and acts as proxies that refuse
// everything or stop reading. It counts what was lost meanwhile.
//
// Every part is a process of its own, the one that ships. It must never leave one
// behind, never take a refusal for a success, and never call a loss zero that it
// did not count.
package outages

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

var (
	long = flag.Bool("long", false, "the long form: an absence of 60 s, more rounds, and limits on time")
	rate = flag.Int("rate", 1000, "requests per second")
)

// programs are built once, from the source tree.
var programs rig.Programs

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == applicationRole {
		if err := serveApplication(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "application:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(rig.Main("outages", filepath.Join("..", ".."), &programs, m.Run))
}

// forms chooses by the flag.
func forms(short, longer time.Duration) time.Duration {
	if *long {
		return longer
	}
	return short
}
