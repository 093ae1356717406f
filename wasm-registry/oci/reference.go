// Package oci moves modules to and from OCI registries and OCI layout folders.
//
// It writes one format, an image with the module in it that every other loader
// takes too, and reads all that are in use. What it returns was verified by its
// digest and has the shape of a module. It never runs a module, never trusts a
// length that somebody only claims, and never connects to an address to which
// a registry, or a name, was not meant to lead it.
package oci

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"
)

// LayoutPrefix stands before the name of an OCI layout folder.
const LayoutPrefix = "oci:"

// Reference names an image: HOST[:PORT]/REPOSITORY in a registry or
// oci:FOLDER in an OCI layout, and then :TAG or @sha256:DIGEST.
type Reference struct {
	// Folder is an OCI layout; empty for a registry.
	Folder string
	// Host has the port, if one is given.
	Host, Repository string
	// Tag is empty if there is a digest: that alone decides.
	Tag string
	// Digest is that of a manifest, such as sha256:a3..., or empty.
	Digest string
}

// ParseReference reads a reference. The error says what one looks like.
func ParseReference(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return r, fmt.Errorf("image %q: %w; name it like registry.example.com/filters/quota:1.2, "+
			"registry.example.com/filters/quota@sha256:..., or %sfolder:1.2 for an OCI layout", s, err, LayoutPrefix)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	if folder, ok := strings.CutPrefix(s, LayoutPrefix); ok {
		return parseLayout(folder)
	}
	parsed, err := registry.ParseReference(s)
	if err != nil {
		return Reference{}, err
	}
	r := Reference{Host: parsed.Registry, Repository: parsed.Repository}
	if parsed.Reference == "" {
		return r, errNoVersion
	}
	if d, err := parsed.Digest(); err == nil {
		r.Digest = d.String()
		return r, onlySHA256(d)
	}
	r.Tag = parsed.Reference
	return r, nil
}

var errNoVersion = fmt.Errorf("it has neither tag nor digest")

func parseLayout(s string) (Reference, error) {
	if folder, text, ok := strings.Cut(s, "@"); ok {
		d, err := digest.Parse(text)
		if err != nil {
			return Reference{}, err
		}
		return Reference{Folder: folder, Digest: d.String()}, onlySHA256(d)
	}
	colon := strings.LastIndex(s, ":")
	if colon < 1 || colon < strings.LastIndex(s, "/") || colon == len(s)-1 {
		return Reference{}, errNoVersion
	}
	r := Reference{Folder: s[:colon], Tag: s[colon+1:]}
	// A tag of a layout is one that a registry takes as well.
	return r, registry.Reference{Registry: "layout", Repository: "layout", Reference: r.Tag}.ValidateReferenceAsTag()
}

func onlySHA256(d digest.Digest) error {
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest algorithm %s is not sha256", d.Algorithm())
	}
	return nil
}

// String is the reference as it is written.
func (r Reference) String() string {
	name := r.Host + "/" + r.Repository
	if r.Folder != "" {
		name = LayoutPrefix + r.Folder
	}
	if r.Digest != "" {
		return name + "@" + r.Digest
	}
	return name + ":" + r.Tag
}

// At is the same image by the digest of its manifest.
func (r Reference) At(digest string) Reference {
	r.Tag, r.Digest = "", digest
	return r
}

// version is what a registry or layout looks up.
func (r Reference) version() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Tag
}
