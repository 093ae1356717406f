package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Client pushes and pulls. The zero value speaks https to registries that are
// not on this machine, with the credentials that docker login left.
type Client struct {
	// PlainHTTP speaks http with the registry, and with nobody else.
	PlainHTTP bool
	// AllowLoopback allows a registry on this machine.
	AllowLoopback bool
	// Username and Password are for the registry that a reference names. Without
	// them Docker's configuration is asked.
	Username, Password string
}

// Push puts a module into a registry or layout under a tag, and returns the
// digest of the image. The same module has the same digest everywhere.
func (c Client) Push(ctx context.Context, r Reference, wasm []byte) (string, error) {
	if r.Tag == "" {
		return "", fmt.Errorf("push %s: an image is pushed under a tag; its digest is what comes of it", r)
	}
	i, err := Pack(wasm)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", r, err)
	}
	to, err := c.open(ctx, r)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", r, err)
	}
	if err := push(ctx, to, i, r.Tag); err != nil {
		return "", fmt.Errorf("push %s: %w", r, err)
	}
	return i.Digest(), nil
}

func (c Client) open(ctx context.Context, r Reference) (oras.Target, error) {
	if r.Folder != "" {
		return oci.NewWithContext(ctx, r.Folder)
	}
	return c.repository(r)
}

// push writes the manifest last: what a tag names is there as a whole.
func push(ctx context.Context, to oras.Target, i Image, tag string) error {
	for _, part := range []struct {
		d ocispec.Descriptor
		b []byte
	}{{i.ConfigDescriptor, i.Config}, {i.LayerDescriptor, i.Layer}, {i.ManifestDescriptor, i.Manifest}} {
		there, err := to.Exists(ctx, part.d)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if err := to.Push(ctx, part.d, bytes.NewReader(part.b)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
			return err
		}
	}
	return to.Tag(ctx, i.ManifestDescriptor, tag)
}

// Pull gets a module and verifies it: by its digest, and that it has the shape
// of one. An error that wraps ErrNoModule is about what was found; any other is
// about the way there.
func (c Client) Pull(ctx context.Context, r Reference) (Module, error) {
	from, err := c.source(ctx, r)
	if err != nil {
		return Module{}, fmt.Errorf("pull %s: %w", r, err)
	}
	m, err := read(ctx, from, r.version())
	if err != nil {
		return Module{}, fmt.Errorf("pull %s: %w", r, err)
	}
	return m, nil
}

func (c Client) source(ctx context.Context, r Reference) (oras.ReadOnlyTarget, error) {
	if r.Folder != "" {
		return oci.NewFromFS(ctx, os.DirFS(r.Folder))
	}
	return c.repository(r)
}

func (c Client) repository(r Reference) (*remote.Repository, error) {
	repository, err := remote.NewRepository(r.Host + "/" + r.Repository)
	if err != nil {
		return nil, err
	}
	// Docker Hub is reached under another name than it is called by.
	authority := repository.Reference.Host()
	host := (&url.URL{Host: authority}).Hostname()
	credential, err := c.credential(authority)
	if err != nil {
		return nil, err
	}
	g := guard{host: host, authority: authority, plainHTTP: c.PlainHTTP, loopback: c.AllowLoopback}
	guarded := g.client()
	guarded.Transport = retry.NewTransport(guarded.Transport)
	repository.PlainHTTP = c.PlainHTTP
	repository.Client = &auth.Client{Client: guarded, Cache: auth.NewCache(), Credential: credential}
	return repository, nil
}

// credential answers for the registry that was named, and for no other.
func (c Client) credential(authority string) (auth.CredentialFunc, error) {
	if c.Username != "" {
		return auth.StaticCredential(authority, auth.Credential{Username: c.Username, Password: c.Password}), nil
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Docker's configuration for its credentials: %w", err)
	}
	fromDocker := credentials.Credential(store)
	return func(ctx context.Context, asked string) (auth.Credential, error) {
		if asked != authority {
			return auth.EmptyCredential, nil
		}
		return fromDocker(ctx, asked)
	}, nil
}
