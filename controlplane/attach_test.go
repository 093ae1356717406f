package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// wanting is a mesh in which one filter stands before one workload.
func wanting(f mesh.Filter) *mesh.Snapshot {
	return &mesh.Snapshot{Workloads: []mesh.Workload{{Name: mesh.Name{Namespace: "shop", Name: "web"}, Filters: []mesh.Filter{f}}}}
}

var quota = mesh.Name{Namespace: "shop", Name: "quota"}

// until reloads as the loop does, until what is seen is as wanted.
func until(t *testing.T, a *attachments, s *mesh.Snapshot, again chan struct{}, done func(map[mesh.Name]xds.Attached, []mesh.Problem) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if done(a.reload(t.Context(), s, again)) {
			return
		}
		select {
		case <-again:
		case <-deadline:
			t.Fatal("it never came to that")
		}
	}
}

// A filter keeps what it has until the new is good, whatever the new comes to.
func TestFiltersKeepWhatTheyHave(t *testing.T) {
	hold := make(chan struct{})
	get := func(ctx context.Context, f mesh.Filter) (xds.Attached, error) {
		switch f.Configuration {
		case "bad":
			return xds.Attached{}, errors.New("it does not start")
		case "slow":
			select {
			case <-hold:
			case <-ctx.Done():
				return xds.Attached{}, ctx.Err()
			}
		}
		return xds.Attached{Module: f.Module, Configuration: f.Configuration}, nil
	}
	a, again := newAttachments(get, slog.New(slog.DiscardHandler)), make(chan struct{}, 1)
	defer a.close()
	runs := func(want string, problems int, cause string) func(map[mesh.Name]xds.Attached, []mesh.Problem) bool {
		return func(got map[mesh.Name]xds.Attached, found []mesh.Problem) bool {
			return got[quota].Configuration == want && len(found) == problems && (problems == 0 || strings.Contains(found[0].Cause, cause))
		}
	}
	filter := mesh.Filter{Name: quota, Module: "m", Configuration: "one"}
	// The first is waited for: nobody is told that there is none.
	if got, problems := a.reload(t.Context(), wanting(filter), again); !runs("one", 0, "")(got, problems) {
		t.Fatalf("got %v, %v", got, problems)
	}
	filter.Configuration = "bad"
	until(t, a, wanting(filter), again, runs("one", 1, "what the filter ran before serves on"))
	filter.Configuration = "slow"
	if got, problems := a.reload(t.Context(), wanting(filter), again); !runs("one", 0, "")(got, problems) {
		t.Fatalf("while it is tried: %v, %v", got, problems)
	}
	close(hold)
	until(t, a, wanting(filter), again, runs("slow", 0, ""))
	// An object that cannot be used has no module; what it says about failures is
	// xds's business.
	if got, _ := a.reload(t.Context(), &mesh.Snapshot{}, again); len(got) != 0 {
		t.Errorf("a filter that is gone runs %v", got)
	}
	if got, problems := a.reload(t.Context(), wanting(mesh.Filter{Name: quota, Pass: true}), again); len(got) != 0 || len(problems) != 0 {
		t.Errorf("a filter without a module: %v, %v", got, problems)
	}
}

// What may pass is tried again; what never ran says what becomes of requests.
func TestFiltersAreFetchedAgain(t *testing.T) {
	tries := 0
	get := func(context.Context, mesh.Filter) (xds.Attached, error) {
		if tries++; tries == 1 {
			return xds.Attached{}, fmt.Errorf("the registry is gone; %w", errPassing)
		}
		return xds.Attached{Module: "m"}, nil
	}
	a, again := newAttachments(get, slog.New(slog.DiscardHandler)), make(chan struct{}, 1)
	defer a.close()
	s := wanting(mesh.Filter{Name: quota, Module: "m", Pass: true})
	until(t, a, s, again, func(_ map[mesh.Name]xds.Attached, p []mesh.Problem) bool {
		return len(p) == 1 && strings.Contains(p[0].Cause, "requests pass without it")
	})
	until(t, a, s, again, func(got map[mesh.Name]xds.Attached, p []mesh.Problem) bool {
		return len(p) == 0 && got[quota].Module == "m"
	})
}

// A registry is asked once: afterwards what its image held is known, and found
// by its own digest.
func TestFetcherNeedsTheRegistryOnce(t *testing.T) {
	dir := t.TempDir()
	layout, program := filepath.Join(dir, "layout"), filepath.Join(dir, "inspector")
	answer := "#!/bin/sh\nPATH=/usr/bin:/bin; cat >/dev/null; echo '{\"phase\":\"compile\"}'; echo '{\"done\":true}'\n"
	if err := os.WriteFile(program, []byte(answer), 0o700); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(filepath.Join(dir, "modules"))
	if err != nil {
		t.Fatal(err)
	}
	wasm := moduletest.LogFlood().Bytes()
	r, err := oci.ParseReference("oci:" + layout + ":1")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := oci.Client{}.Push(t.Context(), r, wasm)
	if err != nil {
		t.Fatal(err)
	}
	g := fetcher{manifests: dir, inspector: inspect.Inspector{Program: program}, store: kept, pulled: filepath.Join(dir, "images")}
	f := mesh.Filter{Name: quota, Image: "oci:layout@" + digest, Configuration: "c"}
	for range 2 {
		got, err := g.get(t.Context(), f)
		if err != nil || got.Module != store.Digest(wasm) || got.Configuration != "c" || strings.Join(got.Capabilities, " ") != "proxy_log proxy_on_memory_allocate" {
			t.Fatalf("got %+v, %v", got, err)
		}
		if err := os.RemoveAll(layout); err != nil {
			t.Fatal(err)
		}
	}
	f.Module = strings.Repeat("1", 64)
	if _, err := g.get(t.Context(), f); err == nil {
		t.Error("an image with another module was taken")
	}
	// What is in the store was damaged, and there is nowhere to get it again.
	if err := os.WriteFile(kept.Path(store.Digest(wasm)), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Module = ""
	if _, err := g.get(t.Context(), f); !errors.Is(err, errPassing) {
		t.Errorf("got %v", err)
	}
	// A process that cannot look is no verdict on the module.
	g.inspector.Program = "/bin/true"
	if _, err := (fetcher{inspector: g.inspector, store: kept}).get(t.Context(), mesh.Filter{Module: store.Digest([]byte("x"))}); err == nil {
		t.Error("what is no module was taken")
	}
}
