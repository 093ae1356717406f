package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

// PluginFile is the name of the module in the layer. Loaders look for the base
// name.
const PluginFile = "plugin.wasm"

const (
	variantAnnotation = "module.wasm.image/variant"
	variantCompat     = "compat"
)

// Image is a module as it is pushed: three contents and the descriptors that
// name them by digest.
type Image struct {
	Manifest, Config, Layer []byte
	// ManifestDescriptor is what the image is known by; the other two stand in the
	// manifest.
	ManifestDescriptor, ConfigDescriptor, LayerDescriptor ocispec.Descriptor
}

// Digest is the digest of the manifest: the one to pin.
func (i Image) Digest() string { return i.ManifestDescriptor.Digest.String() }

// Pack makes the image of a module, in the variant "compat": an ordinary image
// that Wasm loaders and container engines take alike. The same bytes make the
// same image, by a program that was built with the same Go.
func Pack(wasm []byte) (Image, error) {
	if _, err := module.Read(wasm); err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	archive, err := pack(wasm)
	if err != nil {
		return Image{}, fmt.Errorf("pack the module: %w", err)
	}
	layer, err := compress(archive)
	if err != nil {
		return Image{}, fmt.Errorf("compress the module: %w", err)
	}
	i := Image{Layer: layer, LayerDescriptor: content.NewDescriptorFromBytes(ocispec.MediaTypeImageLayerGzip, layer)}
	if i.Config, err = json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(archive)}},
	}); err != nil {
		return Image{}, fmt.Errorf("write the image's configuration: %w", err)
	}
	i.ConfigDescriptor = content.NewDescriptorFromBytes(ocispec.MediaTypeImageConfig, i.Config)
	if i.Manifest, err = json.Marshal(ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      i.ConfigDescriptor,
		Layers:      []ocispec.Descriptor{i.LayerDescriptor},
		Annotations: map[string]string{variantAnnotation: variantCompat},
	}); err != nil {
		return Image{}, fmt.Errorf("write the manifest: %w", err)
	}
	i.ManifestDescriptor = content.NewDescriptorFromBytes(ocispec.MediaTypeImageManifest, i.Manifest)
	return i, nil
}

// pack writes nothing into the archive but the module: no time, no owner.
func pack(wasm []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: PluginFile, Mode: 0o644, Size: int64(len(wasm)),
		ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(wasm); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func compress(archive []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(archive); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
