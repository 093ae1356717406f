package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
)

// Media types, written out once more on purpose: a misspelled one must not
// agree with itself.
const (
	ociTarGzip    = "application/vnd.oci.image.layer.v1.tar+gzip"
	ociTarZstd    = "application/vnd.oci.image.layer.v1.tar+zstd"
	dockerTarGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	soloConfig    = "application/vnd.module.wasm.config.v1+json"
	soloContent   = "application/vnd.module.wasm.content.layer.v1+wasm"
	cncfConfig    = "application/vnd.wasm.config.v0+json"
	cncfContent   = "application/wasm"
	wtoConfig     = "application/vnd.wasm.config.v1+json"
	wtoContent    = "application/vnd.wasm.content.layer.v1+wasm"
)

func fileIn(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s is not in the archive: %v", name, err)
		}
		if h.Name == name {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
}

func gzipped(t *testing.T, archive []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archived is a gzipped archive of files, by turns name and content.
func archived(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: files[i], Size: int64(len(files[i+1])), Mode: 0o600}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(files[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return gzipped(t, b.Bytes())
}

// image has layers, by turns media type and content, and a kind of manifest and
// configuration.
func image(t *testing.T, manifest, config string, layers ...any) v1.Image {
	t.Helper()
	i := mutate.MediaType(empty.Image, types.MediaType(manifest))
	for n := 0; n < len(layers); n += 2 {
		var err error
		l := static.NewLayer(layers[n+1].([]byte), types.MediaType(layers[n].(string)))
		if i, err = mutate.Append(i, mutate.Addendum{Layer: l, MediaType: types.MediaType(layers[n].(string))}); err != nil {
			t.Fatal(err)
		}
	}
	return mutate.ConfigMediaType(i, types.MediaType(config))
}

func index(t *testing.T, i v1.Image, platforms ...v1.Platform) v1.ImageIndex {
	t.Helper()
	all := v1.ImageIndex(mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	for n, p := range platforms {
		// Each platform has another image; the good one is the last.
		other := i
		if n < len(platforms)-1 {
			other = image(t, string(types.OCIManifestSchema1), string(types.OCIConfigJSON), ociTarGzip, archived(t, fmt.Sprint(n), "none"))
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &p}})
	}
	return all
}

// Everything that is in use can be read, from a registry and from a folder.
func TestPullReadsAllFormats(t *testing.T) {
	wasm := moduletest.LogFlood().Bytes()
	layer := archived(t, "readme", "hello", "usr/plugin.wasm", string(wasm), "later/plugin.wasm", "not the first")
	compat := image(t, string(types.OCIManifestSchema1), string(types.OCIConfigJSON), ociTarGzip, layer)
	images := map[string]struct {
		what remote.Taggable
		want oci.Format
	}{
		"compat": {compat, oci.Compat},
		"compat with layers before": {image(t, string(types.OCIManifestSchema1), string(types.OCIConfigJSON),
			"application/vnd.module.wasm.spec.v1+yaml", []byte("x"), ociTarGzip, layer), oci.Compat},
		"docker":         {image(t, string(types.DockerManifestSchema2), string(types.DockerConfigJSON), dockerTarGzip, layer), oci.Docker},
		"solo":           {image(t, string(types.OCIManifestSchema1), soloConfig, soloConfig, []byte("{}"), soloContent, wasm), oci.Solo},
		"solo, reversed": {image(t, string(types.OCIManifestSchema1), soloConfig, soloContent, wasm, soloConfig, []byte("{}")), oci.Solo},
		"cncf":           {image(t, string(types.OCIManifestSchema1), cncfConfig, cncfContent, wasm), oci.CNCF},
		"wasm-to-oci":    {image(t, string(types.OCIManifestSchema1), wtoConfig, wtoContent, wasm), oci.WasmToOCI},
		"index": {index(t, compat, v1.Platform{OS: "linux", Architecture: "arm64"}, v1.Platform{OS: "wasip1", Architecture: "wasm"},
			v1.Platform{OS: "linux", Architecture: "amd64"}), oci.Compat},
		"index for wasm": {index(t, compat, v1.Platform{OS: "linux", Architecture: "arm64"}, v1.Platform{OS: "wasip1", Architecture: "wasm"}), oci.Compat},
	}
	host, folder := startRegistry(t), filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range images {
		tag := strings.NewReplacer(" ", "-", ",", "").Replace(name)
		references := []string{host + "/formats:" + tag, "oci:" + folder + ":" + tag}
		put(t, c.what, references[0], path, tag)
		for _, s := range references {
			m, err := client.Pull(t.Context(), reference(t, s))
			if err != nil || !bytes.Equal(m.Wasm, wasm) || m.Format != c.want {
				t.Errorf("%s: got %d bytes as %q, %v", s, len(m.Wasm), m.Format, err)
			}
			if (m.Index != "") != strings.HasPrefix(name, "index") {
				t.Errorf("%s: index %q", s, m.Index)
			}
		}
	}
}

// put pushes an image or index to a registry and into a layout.
func put(t *testing.T, what remote.Taggable, registry string, path layout.Path, tag string) {
	t.Helper()
	title := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag})
	var err, other error
	switch x := what.(type) {
	case v1.Image:
		err, other = remote.Write(named(t, registry), x), path.AppendImage(x, title)
	case v1.ImageIndex:
		err, other = remote.WriteIndex(named(t, registry), x), path.AppendIndex(x, title)
	}
	if err := errors.Join(err, other); err != nil {
		t.Fatal(err)
	}
}

// header writes only the head of a file into an archive, which claims a size.
func header(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is not a module, or is more than one should be, is refused for that
// reason, and costs little.
func TestPullRefuses(t *testing.T) {
	wasm := moduletest.Good().Bytes()
	manifest, config := string(types.OCIManifestSchema1), string(types.OCIConfigJSON)
	good := archived(t, "plugin.wasm", string(wasm))
	zeros := make([]byte, 100<<20)
	var folderEntry bytes.Buffer
	if err := tar.NewWriter(&folderEntry).WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "plugin.wasm/"}); err != nil {
		t.Fatal(err)
	}
	arm := index(t, image(t, manifest, config, ociTarGzip, good), v1.Platform{OS: "linux", Architecture: "arm64"})
	nested := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: arm})
	cases := map[string]struct {
		what remote.Taggable
		text string
	}{
		"empty":           {image(t, manifest, config), "no layers"},
		"bomb":            {image(t, manifest, config, ociTarGzip, gzipped(t, append(header(t, "zeros", 1<<40), zeros...))), "unpacks to more than"},
		"module bomb":     {image(t, manifest, config, ociTarGzip, gzipped(t, append(header(t, "plugin.wasm", 1<<40), zeros...))), "the module has more than"},
		"lying size":      {image(t, manifest, config, ociTarGzip, gzipped(t, append(header(t, "plugin.wasm", 1<<40), wasm...))), "EOF"},
		"folder":          {image(t, manifest, config, ociTarGzip, gzipped(t, folderEntry.Bytes())), "not a plain file"},
		"not in it":       {image(t, manifest, config, ociTarGzip, archived(t, "other.wasm", string(wasm))), "no plugin.wasm"},
		"not gzip":        {image(t, manifest, config, ociTarGzip, wasm), "gzip"},
		"zstd":            {image(t, manifest, config, ociTarZstd, good), "tar+zstd"},
		"layer behind":    {image(t, manifest, config, ociTarGzip, good, "text/plain", []byte("x")), `the last is "text/plain"`},
		"docker with oci": {image(t, string(types.DockerManifestSchema2), config, ociTarGzip, good), "no known format"},
		"two of cncf":     {image(t, manifest, cncfConfig, cncfContent, wasm, cncfContent, wasm), "no known format"},
		"component":       {image(t, manifest, cncfConfig, cncfContent, []byte("\x00asm\x0d\x00\x01\x00")), "component"},
		"truncated":       {image(t, manifest, cncfConfig, cncfContent, wasm[:len(wasm)-3]), "truncated"},
		"arm only":        {arm, "none of the 1 images"},
		"nested index":    {nested, "an index in an index"},
	}
	host, folder := startRegistry(t), filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		tag := strings.ReplaceAll(name, " ", "-")
		put(t, c.what, host+"/bad:"+tag, path, tag)
		for _, s := range []string{host + "/bad:" + tag, "oci:" + folder + ":" + tag} {
			_, err := client.Pull(t.Context(), reference(t, s))
			if !errors.Is(err, oci.ErrNoModule) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: got %v, want %q", s, err, c.text)
			}
		}
	}
}

// Bytes that are not what their digest says are no module, whoever changed them.
func TestPullVerifiesDigests(t *testing.T) {
	wasm := moduletest.Good().Bytes()
	i, err := oci.Pack(wasm)
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string]string{"manifest": i.Digest(), "layer": i.LayerDescriptor.Digest.String()} {
		folder := filepath.Join(t.TempDir(), "layout")
		r := reference(t, "oci:"+folder+":1")
		if _, err := client.Push(t.Context(), r, wasm); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Pull(t.Context(), r); err != nil {
			t.Fatalf("before it is damaged: %v", err)
		}
		blob := filepath.Join(folder, "blobs", "sha256", strings.TrimPrefix(part, "sha256:"))
		b, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.Chmod(blob, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(blob, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Pull(t.Context(), r); err == nil || !strings.Contains(err.Error(), "igest") {
			t.Errorf("%s: got %v", name, err)
		}
		if err := os.WriteFile(blob, append(b, 0), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Pull(t.Context(), r); err == nil {
			t.Errorf("%s: a byte more was taken", name)
		}
	}
}
