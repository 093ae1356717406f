package wasmhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// Both sides, started once for all tests.
var (
	inEnvoy *online
	here    *offline
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	// A Unix socket's path must be short.
	dir, err := os.MkdirTemp("", "wasmhost")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer inEnvoy.end()
	defer inEnvoy.backends.close()
	status := m.Run()
	if status != 0 {
		fmt.Fprintf(os.Stderr, "the end of Envoy's log:\n%s", inEnvoy.tail())
	}
	return status
}

func start(ctx context.Context, dir string) error {
	module := filepath.Join(dir, "probe.wasm")
	if err := wasmtest.Build(ctx, filepath.Join("..", "..", "filters", "wasmtest", "testdata", "probe"), module); err != nil {
		return err
	}
	code, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	upstreams, err := startBackends()
	if err != nil {
		return err
	}
	config, err := bootstrap(doors, module, filepath.Join(dir, "admin"), upstreams.ports)
	if err != nil {
		return err
	}
	proxy, err := startEnvoy(ctx, dir, config)
	if err != nil {
		return err
	}
	inEnvoy = &online{proxy, upstreams}
	here, err = startOffline(ctx, code, doors)
	return err
}

// doorNamed finds a door; a name that is not there is the test's mistake.
func doorNamed(t *testing.T, name string) door {
	t.Helper()
	for _, d := range doors {
		if d.name == name {
			return d
		}
	}
	t.Fatalf("there is no door %q", name)
	return door{}
}

// both makes the visit on both sides.
func both(t *testing.T, v visit) (real, ours transcript) {
	t.Helper()
	d := doorNamed(t, v.door)
	ours = here.visit(t.Context(), d, v)
	real, err := inEnvoy.visit(d, v, ours)
	if err != nil {
		t.Fatal(err)
	}
	if v.repeats {
		return real.once(), ours.once()
	}
	return real, ours
}

func compare(t *testing.T, v visit) {
	t.Helper()
	if real, ours := both(t, v); real.String() != ours.String() {
		t.Errorf("%s: %s\n%s", v.door, v.do, differ(real, ours))
	}
}
