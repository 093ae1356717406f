// Package identity proves on a real API server that a certificate is given to
// whoever a projected token was given to, and to nobody else. It holds tests only
// and must never be imported.
package identity

import (
	"context"
	"log/slog"
	"testing"

	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// kube is the one API server of all tests, each of which has namespaces of its own.
var kube *cluster.Cluster

func TestMain(m *testing.M) {
	nothing := func() error { return nil } // is built: all runs in this process
	cluster.Main(m, "../../..", nothing, func(_ context.Context, c *cluster.Cluster, _ *slog.Logger) error {
		kube = c
		return nil
	})
}
