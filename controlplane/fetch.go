package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// pullTimeout bounds one try to fetch a module.
const pullTimeout = 2 * time.Minute

// fetcher gets modules for filters. It is used by several goroutines and has no
// state but the folders.
type fetcher struct {
	// manifests is the folder beside which relative layouts are looked for.
	manifests string
	// insecure are the registries that may be on this machine and in the clear.
	insecure  []string
	inspector inspect.Inspector
	store     store.Store
	// pulled remembers, in a folder, which module an image held: what a digest
	// names never changes, so a registry is asked once, and need not be there
	// when a control plane starts anew.
	pulled string
}

// get fetches the module of a filter, tries it with the filter's configuration,
// and only then keeps it.
func (g fetcher) get(ctx context.Context, f mesh.Filter) (xds.Attached, error) {
	wasm, err := g.module(ctx, f)
	if err != nil {
		return xds.Attached{}, err
	}
	digest := store.Digest(wasm)
	if f.Module != "" && f.Module != digest {
		return xds.Attached{}, fmt.Errorf("the module of %s has the sha256 %s, and %s is wanted", f.Image, digest, f.Module)
	}
	shape, err := module.Read(wasm)
	if err != nil {
		return xds.Attached{}, err
	}
	if err := g.inspector.Inspect(ctx, wasm, []byte(f.Configuration)); errors.Is(err, inspect.ErrUnable) {
		return xds.Attached{}, fmt.Errorf("%w; %w", err, errPassing)
	} else if err != nil {
		return xds.Attached{}, fmt.Errorf("module %s: %w", short(digest), err)
	}
	if _, err := g.store.Put(wasm); err != nil {
		return xds.Attached{}, fmt.Errorf("%w; %w", err, errPassing)
	}
	if f.Image != "" {
		// Not to remember costs another pull, nothing else.
		_ = g.remember(f.Image, digest)
	}
	return xds.Attached{
		Module: digest, Capabilities: slices.Concat(shape.Calls(), shape.Callbacks()), Configuration: f.Configuration,
	}, nil
}

// module gets the bytes: from the store if they were here before, else from
// where the image is.
func (g fetcher) module(ctx context.Context, f mesh.Filter) ([]byte, error) {
	digest := f.Module
	if digest == "" {
		digest = g.recall(f.Image)
	}
	if wasm, err := os.ReadFile(g.store.Path(digest)); err == nil && store.Digest(wasm) == digest {
		return wasm, nil
	}
	if f.Image == "" {
		return nil, fmt.Errorf("no module with the sha256 %s is here: give its image too, or put it into the folder of modules; %w", f.Module, errPassing)
	}
	r, err := oci.ParseReference(f.Image)
	if err != nil {
		return nil, err
	}
	if r.Folder != "" && !filepath.IsAbs(r.Folder) {
		r.Folder = filepath.Join(g.manifests, r.Folder)
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	m, err := g.client(r).Pull(ctx, r)
	if err != nil && !errors.Is(err, oci.ErrNoModule) {
		return nil, fmt.Errorf("%w; %w", err, errPassing)
	}
	return m.Wasm, err
}

func (g fetcher) client(r oci.Reference) oci.Client {
	insecure := slices.Contains(g.insecure, r.Host)
	return oci.Client{PlainHTTP: insecure, AllowLoopback: insecure}
}

func (g fetcher) record(image string) string {
	return filepath.Join(g.pulled, url.QueryEscape(image[strings.LastIndex(image, "@")+1:]))
}

func (g fetcher) recall(image string) string {
	digest, err := os.ReadFile(g.record(image))
	if err != nil {
		return ""
	}
	return string(digest)
}

func (g fetcher) remember(image, digest string) error {
	if err := os.MkdirAll(g.pulled, 0o700); err != nil {
		return err
	}
	return os.WriteFile(g.record(image), []byte(digest), 0o600)
}
