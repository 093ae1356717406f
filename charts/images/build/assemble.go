package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wasmesh/wasmesh/charts/images"
)

// assemble puts the files on top of the base. Everybody may read and run them,
// nobody but root write them. The same files on the same base are the same image,
// byte for byte.
func assemble(i images.Image, base v1.Image, files map[string]string) (v1.Image, error) {
	content, err := archive(files)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	kind, err := layerType(base)
	if err != nil {
		return nil, fmt.Errorf("image %s: the base: %w", i.Name, err)
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(kind))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", i.Name, err)
	}
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "wasmesh " + i.Name}})
	if err != nil {
		return nil, fmt.Errorf("image %s: the base: %w", i.Name, err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image %s: the base: %w", i.Name, err)
	}
	config := file.Config
	config.Entrypoint, config.Cmd = []string{i.Programs[0].Path()}, nil
	config.User, config.WorkingDir, config.ExposedPorts = fmt.Sprintf("%d:%d", i.User, i.User), "/", nil
	return mutate.Config(image, config)
}

// layerType is what a layer is called in the base's family of formats, which
// registries do not let be mixed.
func layerType(base v1.Image) (types.MediaType, error) {
	manifest, err := base.MediaType()
	if manifest == types.OCIManifestSchema1 {
		return types.OCILayer, err
	}
	return types.DockerLayer, err
}

// archive is a tar of files without a time, an owner's name or their folders'
// order on disk in it.
func archive(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, folder := range folders(files) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, Format: tar.FormatPAX}); err != nil {
			return nil, err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(files[target])
		if err != nil {
			return nil, err
		}
		mode := int64(0o755)
		if target == images.Module {
			mode = 0o644
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(target, "/"), Mode: mode, Size: int64(len(content)), Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// folders are those above the files, outermost first.
func folders(files map[string]string) []string {
	found := map[string]bool{}
	for target := range files {
		for dir := path.Dir(strings.TrimPrefix(target, "/")); dir != "."; dir = path.Dir(dir) {
			found[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
