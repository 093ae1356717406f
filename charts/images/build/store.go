package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/wasmesh/wasmesh/charts/images"
)

// folder tells a layout folder from a repository.
const folder = "oci:"

// pull gets the base for one platform.
func pull(ctx context.Context, from string, p v1.Platform) (v1.Image, error) {
	if dir, ok := strings.CutPrefix(from, folder); ok {
		return fromLayout(dir, p)
	}
	ref, err := name.ParseReference(from)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(p), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("base %s for %s: %w; --base names another one", from, p, err)
	}
	return image, nil
}

func fromLayout(dir string, p v1.Platform) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", dir, err)
	}
	found, err := imagesFor(index, p)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", dir, err)
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("base %s has %d images for %s; one is wanted", dir, len(found), p)
	}
	return found[0], nil
}

// imagesFor looks into indexes of indexes too, and believes images' own
// configurations: not every tool writes platforms into an index.
func imagesFor(index v1.ImageIndex, p v1.Platform) ([]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []v1.Image
	for _, d := range manifest.Manifests {
		switch {
		case d.MediaType.IsIndex():
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			images, err := imagesFor(inner, p)
			if err != nil {
				return nil, err
			}
			found = append(found, images...)
		case d.MediaType.IsImage():
			image, err := index.Image(d.Digest)
			if err != nil {
				return nil, err
			}
			config, err := image.ConfigFile()
			if err != nil {
				return nil, err
			}
			if config.OS == p.OS && config.Architecture == p.Architecture {
				found = append(found, image)
			}
		}
	}
	return found, nil
}

// add puts every image for one platform into its index.
func add(made map[string]v1.ImageIndex, p v1.Platform, base v1.Image, programs, module string) error {
	for _, i := range images.All() {
		image, err := assemble(i, base, i.Files(programs, module))
		if err != nil {
			return err
		}
		index, ok := made[i.Name]
		if !ok {
			index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		}
		made[i.Name] = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p}})
	}
	return nil
}

// publish writes the finished indexes, and says what they are called.
func publish(ctx context.Context, o options, made map[string]v1.ImageIndex, out io.Writer) error {
	for _, i := range images.All() {
		index := made[i.Name]
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		target := o.to + "/" + i.Name + ":" + o.tag
		if err := write(ctx, target, index); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
		fmt.Fprintf(out, "%s@%s\n", target, digest)
	}
	return nil
}

// write replaces what had the name. Each image has a layout folder of its own, as
// tools that read layouts expect.
func write(ctx context.Context, target string, index v1.ImageIndex) error {
	if path, ok := strings.CutPrefix(target, folder); ok {
		dir, tag, _ := cutTag(path)
		p, err := layout.Write(dir, empty.Index)
		if err != nil {
			return err
		}
		return p.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag}))
	}
	ref, err := name.ParseReference(target)
	if err != nil {
		return err
	}
	return remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

// cutTag splits at the last colon.
func cutTag(target string) (before, tag string, ok bool) {
	at := strings.LastIndexByte(target, ':')
	if at < 0 {
		return target, "", false
	}
	return target[:at], target[at+1:], true
}
