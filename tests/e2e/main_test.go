package e2e

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/e2e/agent"
	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
	"github.com/wasmesh/wasmesh/tests/e2e/network"
)

// root is the product's source tree.
const root = "../.."

// What the run is made of. Every test uses the one cluster, in a namespace of its
// own.
var (
	kube  *cluster.Cluster
	nodes []*agent.Agent
)

func TestMain(m *testing.M) { cluster.Main(m, root, prepare, begin) }

// begin starts the nodes.
func begin(ctx context.Context, c *cluster.Cluster, log *slog.Logger) error {
	kube = c
	if err := network.Follow(ctx, c.Client, log); err != nil {
		return err
	}
	for n, name := range []string{"node-a", "node-b"} {
		client, err := c.Node(name)
		if err != nil {
			return err
		}
		node := &agent.Agent{
			Name: name, Client: client, Network: c.Network, Images: images(c.Tools), Shim: program("shim"),
			Folder: filepath.Join(cluster.Home, name), Port: 10250 + n, Log: log,
		}
		if err := node.Start(ctx); err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	return nil
}
