package e2e

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
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
	tools cluster.Tools
)

// TestMain starts this program twice: the first builds what runs in pods, with the
// machine's network; the second, in namespaces of its own, runs the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 1, error(nil)
	if cluster.Inside() {
		code, err = inside(m)
	} else if err = prepare(); err == nil {
		code, err = cluster.Reenter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func inside(m *testing.M) (int, error) {
	if err := cluster.Settle(); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	var err error
	if tools, err = cluster.FindTools(toolsFolder()); err != nil {
		return 1, err
	}
	if kube, err = cluster.Boot(ctx, tools, log); err != nil {
		return 1, err
	}
	defer kube.Close()
	if err := network.Follow(ctx, kube.Client, log); err != nil {
		return 1, err
	}
	for n, name := range []string{"node-a", "node-b"} {
		client, err := kube.Node(name)
		if err != nil {
			return 1, err
		}
		node := &agent.Agent{
			Name: name, Client: client, Network: kube.Network, Images: images(tools), Shim: program("shim"),
			Folder: filepath.Join(cluster.Home, name), Port: 10250 + n, Log: log,
		}
		if err := node.Start(ctx); err != nil {
			return 1, err
		}
		nodes = append(nodes, node)
	}
	return m.Run(), nil
}

func toolsFolder() string {
	if folder := os.Getenv("WASMESH_E2E_TOOLS"); folder != "" {
		return folder
	}
	return filepath.Join(root, ".tools/e2e")
}
