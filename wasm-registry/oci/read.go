package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// ErrNoModule says that what was found is not a module, or not what its digest
// promises. It is no use to ask again.
var ErrNoModule = errors.New("not a filter module")

// Format is how a module lies in an image.
type Format string

// The formats that are read. Pack writes Compat.
const (
	Compat    Format = "compat"      // tar+gzip layer with plugin.wasm, last
	Docker    Format = "docker"      // the same, in a Docker manifest
	Solo      Format = "solo"        // two layers: runtime configuration and module
	CNCF      Format = "cncf"        // one layer of type application/wasm
	WasmToOCI Format = "wasm-to-oci" // one layer, as wasm-to-oci and cosign write it
)

// Module is what was pulled.
type Module struct {
	Wasm []byte
	// Shape is that of Wasm.
	Shape module.Shape
	// Manifest is the digest of the image's manifest, Index that of the index that
	// led to it, if one did.
	Manifest, Index string
	Format          Format
}

// Media types that image-spec does not know.
const (
	dockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	soloLayer       = "application/vnd.module.wasm.content.layer.v1+wasm"
	cncfLayer       = "application/wasm"
	wasmToOCILayer  = "application/vnd.wasm.content.layer.v1+wasm"
	manifestBytes   = 4 << 20 // what registries take, by the specification
	compressedBytes = module.MaxBytes + 1<<20
)

// manifest is an image's manifest or an index: which one is decided by more
// than its own word.
type manifest struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
}

func (m manifest) index() bool {
	return m.MediaType == ocispec.MediaTypeImageIndex || m.MediaType == dockerIndex
}

// read finds the module behind a version. Everything is verified by its digest
// before it is looked at.
func read(ctx context.Context, from oras.ReadOnlyTarget, version string) (Module, error) {
	d, err := from.Resolve(ctx, version)
	if err != nil {
		return Module{}, err
	}
	if strings.Contains(version, ":") && d.Digest.String() != version {
		return Module{}, fmt.Errorf("%w: asked for %s, the answer is %s", ErrNoModule, version, d.Digest)
	}
	var out Module
	m, err := readManifest(ctx, from, d)
	if err != nil {
		return Module{}, err
	}
	if m.index() {
		out.Index = d.Digest.String()
		if d, err = choose(m.Manifests); err != nil {
			return Module{}, err
		}
		if m, err = readManifest(ctx, from, d); err != nil {
			return Module{}, err
		}
		if m.index() {
			return Module{}, fmt.Errorf("%w: an index in an index", ErrNoModule)
		}
	}
	out.Manifest = d.Digest.String()
	layer, format, err := pick(m)
	if err != nil {
		return Module{}, err
	}
	out.Format = format
	if out.Wasm, err = readLayer(ctx, from, layer, format); err != nil {
		return Module{}, err
	}
	if out.Shape, err = module.Read(out.Wasm); err != nil {
		return Module{}, fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	return out, nil
}

func readManifest(ctx context.Context, from oras.ReadOnlyTarget, d ocispec.Descriptor) (manifest, error) {
	var m manifest
	b, err := readContent(ctx, from, d, manifestBytes)
	if err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: manifest %s: %w", ErrNoModule, d.Digest, err)
	}
	if m.MediaType == "" {
		m.MediaType = d.MediaType
	}
	switch m.MediaType {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		err = consistent(m, d, m.Manifests == nil)
	case ocispec.MediaTypeImageIndex, dockerIndex:
		err = consistent(m, d, m.Layers == nil && m.Config == nil)
	default:
		err = fmt.Errorf("%w: %s is of type %q, neither image nor index", ErrNoModule, d.Digest, m.MediaType)
	}
	return m, err
}

// consistent refuses a document that can be read as image and as index, or that
// is announced as another than it says.
func consistent(m manifest, d ocispec.Descriptor, one bool) error {
	announced := strings.Contains(d.MediaType, "manifest") || strings.Contains(d.MediaType, "index")
	if !one || announced && d.MediaType != m.MediaType {
		return fmt.Errorf("%w: manifest %s is ambiguous: announced as %q, it says %q, with %d layers and %d manifests",
			ErrNoModule, d.Digest, d.MediaType, m.MediaType, len(m.Layers), len(m.Manifests))
	}
	return nil
}

// choose takes of an index what other loaders take: the first for linux/amd64,
// or for no platform. Wasm needs neither, so its own platform is fine as well.
func choose(all []ocispec.Descriptor) (ocispec.Descriptor, error) {
	for _, d := range all {
		if d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == "amd64" {
			return d, nil
		}
	}
	for _, d := range all {
		if d.Platform.Architecture == "wasm" {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: none of the %d images of the index is for linux/amd64 or wasm", ErrNoModule, len(all))
}

// pick finds the layer with the module.
func pick(m manifest) (ocispec.Descriptor, Format, error) {
	if len(m.Layers) == 0 {
		return ocispec.Descriptor{}, "", fmt.Errorf("%w: the image has no layers", ErrNoModule)
	}
	last := m.Layers[len(m.Layers)-1]
	switch {
	case m.MediaType == dockerManifest && last.MediaType == dockerLayer:
		return last, Docker, nil
	case m.MediaType == dockerManifest: // a Docker manifest has no other way
	case last.MediaType == ocispec.MediaTypeImageLayerGzip:
		return last, Compat, nil
	case len(m.Layers) == 2 && last.MediaType == soloLayer:
		return last, Solo, nil
	case len(m.Layers) == 2 && m.Layers[0].MediaType == soloLayer:
		return m.Layers[0], Solo, nil
	case len(m.Layers) == 1 && last.MediaType == cncfLayer:
		return last, CNCF, nil
	case len(m.Layers) == 1 && last.MediaType == wasmToOCILayer:
		return last, WasmToOCI, nil
	}
	return last, "", fmt.Errorf("%w: no known format has %d layers of which the last is %q; push it with wasmesh module push",
		ErrNoModule, len(m.Layers), last.MediaType)
}

func readLayer(ctx context.Context, from content.Fetcher, d ocispec.Descriptor, f Format) ([]byte, error) {
	b, err := readContent(ctx, from, d, compressedBytes)
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	if f != Compat && f != Docker {
		return b, nil
	}
	wasm, err := unpack(b)
	if err != nil {
		return nil, fmt.Errorf("%w: layer %s: %w", ErrNoModule, d.Digest, err)
	}
	return wasm, nil
}

// readContent reads what a descriptor names, verified, if it is not too large.
func readContent(ctx context.Context, from content.Fetcher, d ocispec.Descriptor, most int64) ([]byte, error) {
	if d.Size > most {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are accepted", ErrNoModule, d.Digest, d.Size, most)
	}
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	r, err := from.Fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := content.ReadAll(r, d)
	if errors.Is(err, content.ErrMismatchedDigest) || errors.Is(err, content.ErrTrailingData) || errors.Is(err, content.ErrInvalidDescriptorSize) {
		return nil, fmt.Errorf("%w: %s: what came is something else: %w", ErrNoModule, d.Digest, err)
	}
	return b, err
}
