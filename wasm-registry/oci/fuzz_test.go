package oci

import (
	"bytes"
	"context"
	"io"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
)

// FuzzUnpack looks for layers that crash or hang whoever unpacks them, or from
// which more comes than may.
func FuzzUnpack(f *testing.F) {
	i, err := Pack(moduletest.Good().Bytes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(i.Layer)
	f.Add(i.Layer[:len(i.Layer)/2])
	f.Fuzz(func(t *testing.T, layer []byte) {
		if wasm, err := unpack(layer); err == nil && len(wasm) > module.MaxBytes {
			t.Errorf("%d bytes came out of %d", len(wasm), len(layer))
		}
	})
}

// FuzzManifest looks for manifests that lead to anything but a module.
func FuzzManifest(f *testing.F) {
	i, err := Pack(moduletest.Good().Bytes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(i.Manifest)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:12","size":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		from := single{text: text, layer: i.Layer}
		m, err := read(t.Context(), from, "1")
		if err == nil && m.Shape.ABI == "" {
			t.Errorf("taken without a module: %q", text)
		}
	})
}

// single is a place that has one manifest, and the layer of a good module.
type single struct{ text, layer []byte }

func (s single) Resolve(context.Context, string) (ocispec.Descriptor, error) {
	return content.NewDescriptorFromBytes(ocispec.MediaTypeImageManifest, s.text), nil
}

func (s single) Exists(context.Context, ocispec.Descriptor) (bool, error) { return true, nil }

func (s single) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == content.NewDescriptorFromBytes("", s.text).Digest {
		return io.NopCloser(bytes.NewReader(s.text)), nil
	}
	return io.NopCloser(bytes.NewReader(s.layer)), nil
}
