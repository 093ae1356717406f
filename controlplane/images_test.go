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

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

var quota = mesh.Name{Namespace: "shop", Name: "quota"}

// wanting is a mesh in which one filter stands before one workload.
func wanting(f mesh.Filter) *mesh.Snapshot {
	return &mesh.Snapshot{Workloads: []mesh.Workload{{Name: mesh.Name{Namespace: "shop", Name: "web"}, Filters: []mesh.Filter{f}}}}
}

// heard waits until something is known of a wish that is as wanted.
func heard(t *testing.T, i *images, w wish, again chan struct{}, as func(pulled) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if o := i.known(w); o != nil && as(*o) {
			return
		}
		select {
		case <-again:
		case <-deadline:
			t.Fatalf("it is %+v", i.known(w))
		}
	}
}

// What may pass is tried again until it is there, what cannot is not, and what
// nobody wants any more is ended.
func TestImagesAreFetchedAgain(t *testing.T) {
	tries, ended := 0, make(chan struct{})
	get := func(ctx context.Context, w wish) ([]byte, error) {
		switch w.image {
		case "late":
			if tries++; tries == 1 {
				return nil, fmt.Errorf("the registry is gone; %w", errPassing)
			}
			return []byte("module"), nil
		case "never":
			return nil, errors.New("no module")
		}
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}
	i, again := newImages(get, slog.New(slog.DiscardHandler)), make(chan struct{}, 1)
	defer i.close()
	late, never, stuck := wish{image: "late"}, wish{image: "never"}, wish{image: "stuck"}
	i.want(t.Context(), []wish{late, never, stuck}, again)
	heard(t, i, late, again, func(o pulled) bool { return errors.Is(o.err, errPassing) })
	heard(t, i, never, again, func(o pulled) bool { return o.err != nil })
	heard(t, i, late, again, func(o pulled) bool { return o.err == nil && o.digest == store.Digest([]byte("module")) })
	if _, more := <-i.work[never].found; more {
		t.Error("what can never be is tried again")
	}
	if i.known(stuck) != nil {
		t.Error("something is known of what is under way")
	}
	i.want(t.Context(), []wish{late}, again)
	<-ended
	if i.known(never) != nil || i.known(late) == nil {
		t.Error("what is wanted is forgotten, or what is not is known")
	}
}

// A filter wishes for what its image holds, with its configuration; for nothing
// new while that is not here.
func TestFilterCandidates(t *testing.T) {
	var answer error
	var asked chan struct{}
	get := func(context.Context, wish) ([]byte, error) { <-asked; return []byte("module"), answer }
	for name, c := range map[string]struct {
		filter mesh.Filter
		err    error
		want   modules.Wanted
	}{
		"here": {mesh.Filter{Name: quota, Image: "i", Configuration: "c"}, nil,
			modules.Wanted{Use: modules.Use{Digest: store.Digest([]byte("module")), Configuration: []byte("c")}, Without: "requests are refused until it runs."}},
		"gone": {mesh.Filter{Name: quota, Image: "i", Pass: true}, fmt.Errorf("gone; %w", errPassing),
			modules.Wanted{Unread: "gone; it is tried again every few seconds", Without: "requests pass without it."}},
	} {
		answer, asked = c.err, make(chan struct{})
		p := &plane{source: folder{Source: files.NewSource(t.TempDir())}, images: newImages(get, slog.New(slog.DiscardHandler))}
		again := make(chan struct{}, 1)
		s := wanting(c.filter)
		if first := p.filterCandidates(t.Context(), s, again); len(first) != 1 || first[0].Use.Digest+first[0].Unread != "" {
			t.Errorf("%s: at first %+v", name, first)
		}
		close(asked)
		<-again
		got := p.filterCandidates(t.Context(), s, again)
		if len(got) != 1 || !got[0].Use.Equal(c.want.Use) || got[0].Unread != c.want.Unread || got[0].Without != c.want.Without ||
			got[0].Name() != "WasmFilter shop/quota" || string(got[0].Starts[0]) != c.filter.Configuration {
			t.Errorf("%s: got %+v", name, got)
		}
		p.images.close()
	}
	// One that cannot be used wishes for nothing, and what it ran is forgotten.
	p := &plane{images: newImages(get, slog.New(slog.DiscardHandler))}
	if got := p.filterCandidates(t.Context(), wanting(mesh.Filter{Name: quota, Pass: true}), nil); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

// A registry is asked once: afterwards what its image held is known, and found
// by its own digest.
func TestPullerNeedsTheRegistryOnce(t *testing.T) {
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
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
	p := puller{manifests: dir, store: kept, known: filepath.Join(dir, "images")}
	w := wish{image: "oci:layout@" + digest}
	if _, err := p.get(t.Context(), wish{w.image, strings.Repeat("1", 64)}); err == nil || errors.Is(err, errPassing) || !strings.Contains(err.Error(), "is wanted") {
		t.Errorf("an image with another module: %v", err)
	}
	if got, err := p.get(t.Context(), w); err != nil || string(got) != string(wasm) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if _, err := kept.Put(wasm); err != nil { // as is done with what is good
		t.Fatal(err)
	}
	if err := os.RemoveAll(layout); err != nil {
		t.Fatal(err)
	}
	for _, w := range []wish{w, {module: store.Digest(wasm)}} {
		if got, err := p.get(t.Context(), w); err != nil || string(got) != string(wasm) {
			t.Errorf("without a registry: %d bytes, %v", len(got), err)
		}
	}
	// What is here was damaged, and there is nowhere to get it again.
	if err := os.WriteFile(kept.Path(store.Digest(wasm)), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, w := range []wish{w, {module: store.Digest(wasm)}} {
		if _, err := p.get(t.Context(), w); !errors.Is(err, errPassing) {
			t.Errorf("got %v", err)
		}
	}
}
