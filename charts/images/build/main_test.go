package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wasmesh/wasmesh/charts/images"
)

var (
	amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = v1.Platform{OS: "linux", Architecture: "arm64"}
)

// bases writes a layout as tools do that copy all platforms of an image: an index
// within the folder's own.
func bases(t *testing.T, platforms ...v1.Platform) string {
	t.Helper()
	var inner v1.ImageIndex = empty.Index
	for _, p := range platforms {
		image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
		image, err := mutate.AppendLayers(image, static.NewLayer([]byte("envoy for "+p.Architecture), types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Config: v1.Config{
			Entrypoint: []string{"/usr/local/bin/envoy"}, Cmd: []string{"-c", "x"}, Env: []string{"PATH=/usr/local/bin"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		inner = mutate.AppendManifests(inner, mutate.IndexAddendum{Add: image})
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendIndex(inner)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compiled is a folder with all programs of all images, and a module.
func compiled(t *testing.T) (folder, module string) {
	t.Helper()
	folder = t.TempDir()
	for _, i := range images.All() {
		for _, p := range i.Programs {
			if err := os.WriteFile(filepath.Join(folder, p.Name), []byte("program "+p.Name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	module = filepath.Join(folder, "any.wasm")
	if err := os.WriteFile(module, []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, module
}

// assembled are the indexes for both platforms.
func assembled(t *testing.T, base string) map[string]v1.ImageIndex {
	t.Helper()
	folder, module := compiled(t)
	made := map[string]v1.ImageIndex{}
	for _, p := range []v1.Platform{amd64, arm64} {
		image, err := pull(t.Context(), "oci:"+base, p)
		if err == nil {
			err = add(made, p, image, folder, module)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// TestImages: to a registry and to a folder goes the same, twice made is the same,
// and each has what the chart and the injector call, for each platform.
func TestImages(t *testing.T) {
	base := bases(t, amd64, arm64)
	server := httptest.NewServer(registry.New())
	defer server.Close()
	there, here := strings.TrimPrefix(server.URL, "http://")+"/mesh", "oci:"+t.TempDir()
	var first, second bytes.Buffer
	for to, out := range map[string]*bytes.Buffer{there: &first, here: &second} {
		if err := publish(t.Context(), options{to: to, tag: "1.2.3"}, assembled(t, base), out); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.ReplaceAll(second.String(), here, there); got != first.String() || strings.Count(got, "@sha256:") != len(images.All()) {
		t.Errorf("not the same:\n%s%s", &first, &second)
	}
	for _, i := range images.All() {
		for _, p := range []v1.Platform{amd64, arm64} {
			pulled, err := pull(t.Context(), there+"/"+i.Name+":1.2.3", p)
			if err != nil {
				t.Fatal(err)
			}
			written, err := pull(t.Context(), here+"/"+i.Name, p)
			if err != nil {
				t.Fatal(err)
			}
			one, err := pulled.Digest()
			other, otherErr := written.Digest()
			if one != other || errors.Join(err, otherErr) != nil {
				t.Errorf("%s for %s: %v in the registry, %v in the folder: %v", i.Name, p, one, other, errors.Join(err, otherErr))
			}
			looksRight(t, i, p, pulled)
		}
	}
}

func looksRight(t *testing.T, i images.Image, p v1.Platform, image v1.Image) {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	if file.Architecture != p.Architecture || len(layers) != 2 || !slices.Equal(c.Entrypoint, []string{i.Programs[0].Path()}) || c.Cmd != nil ||
		!strings.HasPrefix(c.User, "65532:") && !strings.HasPrefix(c.User, "1337:") || !slices.Contains(c.Env, "PATH=/usr/local/bin") {
		t.Errorf("%s for %s: %d layers, %+v", i.Name, p, len(layers), c)
	}
	content, err := layers[1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	found := map[string]string{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.IsZero() && h.ModTime.Unix() != 0 || h.Mode&0o022 != 0 {
			t.Errorf("%s has %+v", i.Name, h)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			found["/"+h.Name] = string(body)
		}
	}
	want := len(i.Programs)
	if i.Module {
		want++
		if found[images.Module] != "module" {
			t.Errorf("%s has no module", i.Name)
		}
	}
	for _, program := range i.Programs {
		if found[program.Path()] != "program "+program.Name {
			t.Errorf("%s lacks %s", i.Name, program.Name)
		}
	}
	if len(found) != want {
		t.Errorf("%s has %v", i.Name, found)
	}
}

// TestRefused: what cannot become an image says so, and names what is missing.
func TestRefused(t *testing.T) {
	base := bases(t, amd64)
	if _, err := pull(t.Context(), "oci:"+base, amd64); err != nil {
		t.Error(err)
	}
	if _, err := pull(t.Context(), "oci:"+base, arm64); err == nil || !strings.Contains(err.Error(), "0 images for linux/arm64") {
		t.Errorf("a base without the platform: %v", err)
	}
	if _, err := pull(t.Context(), "oci:"+t.TempDir(), amd64); err == nil {
		t.Error("an empty folder is a base")
	}
	if _, err := parse([]string{"--tag", "1", "--platforms", "linux/amd64"}); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{}, {"--tag", "1", "--platforms", "windows/amd64"}, {"--tag", "1", "--platforms", "linux"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	folder, _ := compiled(t)
	image, err := pull(t.Context(), "oci:"+base, amd64)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(map[string]v1.ImageIndex{}, amd64, image, folder, filepath.Join(folder, "none.wasm")); err == nil || !strings.Contains(err.Error(), "none.wasm") {
		t.Errorf("without a module: %v", err)
	}
}
