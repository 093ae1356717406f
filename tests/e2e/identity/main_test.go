// Package identity proves on a real API server that a certificate is given to
// whoever a projected token was given to, and to nobody else. It holds tests only
// and must never be imported.
package identity

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// kube is the one API server of all tests, each of which has namespaces of its own.
var kube *cluster.Cluster

// TestMain starts this program once more in namespaces of its own, which end with
// everything in them.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 1, error(nil)
	if cluster.Inside() {
		code, err = inside(m)
	} else {
		code, err = cluster.Reenter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e identity:", err)
		code = 1
	}
	os.Exit(code)
}

func inside(m *testing.M) (int, error) {
	if err := cluster.Settle(); err != nil {
		return 1, err
	}
	folder := os.Getenv("WASMESH_E2E_TOOLS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", ".tools", "e2e")
	}
	tools, err := cluster.FindTools(folder)
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if kube, err = cluster.Boot(ctx, tools, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		return 1, err
	}
	defer kube.Close()
	return m.Run(), nil
}
