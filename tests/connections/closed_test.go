package connections

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// startLimit covers a sidecar that waits for a module and does not get one, and
// one that then compiles it.
const startLimit = 60 * time.Second

// TestClosedWithoutAModule: where there is no module there is no policy, and
// where there is no policy an opaque port is closed. It opens when there is one.
func TestClosedWithoutAModule(t *testing.T) {
	module := filepath.Join(t.TempDir(), "mesh.wasm")
	if err := os.WriteFile(module, []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, func(o *rig.Options) { o.BadModule, o.Programs.Module = true, module }, caller, store)
	n.write(t, manifests(every("all", "store", "caller")))
	closed := func(ctx context.Context) error { return n.denied(ctx, caller, opaque()[1]) }
	if err := n.Await(startLimit, "the caller's sidecar", closed); err != nil {
		t.Fatal(err)
	}
	if err := n.Await(startLimit, "the store's sidecar to deny for want of a module", n.deniedWithoutModule); err != nil {
		t.Fatal(err)
	}
	for _, l := range opaque()[:2] {
		want(t, "without a module, "+l.name, n.denied(t.Context(), caller, l))
	}
	good, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(module+".part", good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(module+".part", module); err != nil {
		t.Fatal(err)
	}
	for _, l := range opaque()[:2] {
		opened := func(ctx context.Context) error { return n.allowed(ctx, caller, l) }
		if err := n.Await(startLimit, "the module, with the right, "+l.name, opened); err != nil {
			t.Fatal(err)
		}
		want(t, "with a module, without the right, "+l.name, n.denied(t.Context(), store, l))
	}
}

// deniedWithoutModule is a probe that the store's sidecar has closed connections
// for want of the filter.
func (n *network) deniedWithoutModule(ctx context.Context) error {
	if err := n.denied(ctx, caller, opaque()[1]); err != nil {
		return err
	}
	stats, err := n.Stats(ctx, store, `network_extension_config_missing$`)
	if err != nil {
		return err
	}
	for _, closed := range stats {
		if closed > 0 {
			return nil
		}
	}
	return errors.New("it has closed none")
}
