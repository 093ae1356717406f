package cluster

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// toolsVariable names a folder with the programs of Kubernetes.
const toolsVariable = "WASMESH_E2E_TOOLS"

// ToolsFolder is where FindTools is to look: where the environment says, or where
// `make e2e` builds, below the root of the product's source tree.
func ToolsFolder(root string) string {
	if folder := os.Getenv(toolsVariable); folder != "" {
		return folder
	}
	return filepath.Join(root, ".tools/e2e")
}

// Main runs the tests of a package with a Kubernetes of their own. It starts this
// program twice: the first calls build, with the machine's network; the second, in
// namespaces of its own, which end with everything in them, boots the cluster,
// hands it to begin and runs the tests. It does not return.
func Main(m *testing.M, root string, build func() error, begin func(context.Context, *Cluster, *slog.Logger) error) {
	flag.Parse()
	code, err := 1, error(nil)
	if Inside() {
		code, err = inside(m, root, begin)
	} else if err = build(); err == nil {
		code, err = Reenter()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		code = 1
	}
	os.Exit(code)
}

func inside(m *testing.M, root string, begin func(context.Context, *Cluster, *slog.Logger) error) (int, error) {
	if err := Settle(); err != nil {
		return 1, err
	}
	tools, err := FindTools(ToolsFolder(root))
	if err != nil {
		return 1, err
	}
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := Boot(ctx, tools, log)
	if err != nil {
		return 1, err
	}
	defer c.Close()
	if err := begin(ctx, c, log); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// Static builds programs that run anywhere, Wasm those that run in Envoy.
var (
	Static = []string{"CGO_ENABLED=0"}
	Wasm   = []string{"GOOS=wasip1", "GOARCH=wasm"}
)

// GoBuild is `go build` with these arguments, in a folder, for Static or Wasm.
func GoBuild(folder string, environment []string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environment...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	return nil
}
