package e2e

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
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

// TestMain starts this program twice: the first builds what runs in pods, with the
// machine's network; the second, in namespaces of its own, runs the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 1, error(nil)
	if cluster.Inside() {
		code, err = inside(m)
	} else if err = build(); err == nil {
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
	tools, err := cluster.FindTools(toolsFolder())
	if err != nil {
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
			Name: name, Client: client, Network: kube.Network, Images: images(), Shim: program("shim"),
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

// program gives the file of a program that build made.
func program(name string) string {
	path, err := filepath.Abs(filepath.Join(root, "bin/e2e", name))
	if err != nil {
		return name // no working directory: starting it will say so
	}
	return path
}

// build makes, statically, what runs in containers.
func build() error {
	for _, b := range []struct{ folder, target string }{
		{".", "./shim"}, {".", "./app"},
		{root, "."}, {root, "./injector/wasmesh-sidecar"}, {root, "./injector/wasmesh-redirect"}, {root, "./examples/bookstore/app"},
	} {
		name := filepath.Base(b.target)
		switch {
		case b.target == ".":
			name = "wasmesh"
		case b.folder == root && name == "app":
			name = "bookstore-app"
		}
		if _, err := os.Stat(filepath.Join(b.folder, b.target)); err != nil {
			continue // told by the first test that needs it
		}
		cmd := exec.Command("go", "build", "-o", program(name), b.target)
		cmd.Dir, cmd.Stdout, cmd.Stderr = b.folder, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	return nil
}

// images says what the image names of manifests stand for.
func images() agent.Images {
	app := func(name string) agent.Image {
		return agent.Image{Files: map[string]string{"/usr/local/bin/" + name: program(name)}, Entrypoint: []string{name}, User: 1000}
	}
	return agent.Images{"app": app("app"), "bookstore-app": app("bookstore-app")}
}
