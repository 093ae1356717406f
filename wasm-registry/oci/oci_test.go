package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/wasmesh/wasmesh/wasm-registry/module/moduletest"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
)

// Addresses of this machine: a registry, and something that no registry may
// lead us to.
const (
	registryAddress = "127.154.0.1"
	victimAddress   = "127.154.0.2"
)

func TestMain(m *testing.M) {
	// Whoever runs the tests may have credentials; they are nobody's business.
	empty, err := os.MkdirTemp("", "oci-")
	if err != nil {
		log.Fatal(err)
	}
	_ = os.Setenv("DOCKER_CONFIG", empty)
	code := m.Run()
	_ = os.RemoveAll(empty)
	os.Exit(code)
}

// client may talk to a registry on this machine, in the clear.
var client = oci.Client{PlainHTTP: true, AllowLoopback: true}

// serve runs an HTTP server at an address of this machine and returns its
// host:port.
func serve(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

func startRegistry(t *testing.T) string {
	return serve(t, registryAddress, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
}

func reference(t *testing.T, s string) oci.Reference {
	t.Helper()
	r, err := oci.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// named is an image of a registry as the other library finds it.
func named(t *testing.T, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// otherReader unpacks an image with the other library.
func otherReader(t *testing.T, i v1.Image) []byte {
	t.Helper()
	r := mutate.Extract(i)
	defer r.Close()
	archive, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	wasm := fileIn(t, archive, oci.PluginFile)
	if err := validate.Image(i); err != nil {
		t.Errorf("the image is not valid: %v", err)
	}
	config, err := i.ConfigFile()
	if err != nil || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("got %+v, %v", config, err)
	}
	return wasm
}

// What we push to a registry and to a folder, twice, is one image, and another
// reader finds the same digest and the same bytes in it.
func TestPushedImagesAreReadAlike(t *testing.T) {
	wasm := moduletest.LogFlood().Bytes()
	host, folder := startRegistry(t), filepath.Join(t.TempDir(), "layout")
	var digests []string
	for _, s := range []string{host + "/filters/flood:1", host + "/filters/flood:2", host + "/other:1", "oci:" + folder + ":1", "oci:" + folder + ":2"} {
		d, err := client.Push(t.Context(), reference(t, s), wasm)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
		for _, version := range []oci.Reference{reference(t, s), reference(t, s).At(d)} {
			m, err := client.Pull(t.Context(), version)
			if err != nil || !bytes.Equal(m.Wasm, wasm) || m.Manifest != d || m.Format != oci.Compat || m.Shape.ABI != "0.2.1" {
				t.Errorf("%s: got %d bytes, %+v, %v", version, len(m.Wasm), m.Shape, err)
			}
		}
	}
	for _, d := range digests {
		if d != digests[0] {
			t.Errorf("one module has several digests: %v", digests)
		}
	}
	fromRegistry, err := remote.Image(named(t, host+"/filters/flood:2"))
	if err != nil {
		t.Fatal(err)
	}
	path, err := layout.FromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	h, err := v1.NewHash(digests[0])
	if err != nil {
		t.Fatal(err)
	}
	fromFolder, err := path.Image(h)
	if err != nil {
		t.Fatal(err)
	}
	for where, i := range map[string]v1.Image{"registry": fromRegistry, "folder": fromFolder} {
		if d, err := i.Digest(); err != nil || d.String() != digests[0] {
			t.Errorf("%s: the other reader finds %s, %v; ours is %s", where, d, err, digests[0])
		}
		if !bytes.Equal(otherReader(t, i), wasm) {
			t.Errorf("%s: the other reader finds other bytes", where)
		}
	}
}

// Nothing of the place and time of packing is in the image.
func TestPackTellsNothingElse(t *testing.T) {
	i, err := oci.Pack(moduletest.Good().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(i.Layer))
	if err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(z).Next()
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" || h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" || h.Name != oci.PluginFile {
		t.Errorf("got %+v in %+v", h, z.Header)
	}
}

func TestPushRefusesWhatIsNoModule(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "layout")
	_, err := client.Push(t.Context(), reference(t, "oci:"+folder+":1"), []byte("\x00asm\x0d\x00\x01\x00"))
	if !errors.Is(err, oci.ErrNoModule) || !strings.Contains(err.Error(), "component") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	pinned := reference(t, "oci:"+folder+":1").At("sha256:" + strings.Repeat("0", 64))
	if _, err := client.Push(t.Context(), pinned, moduletest.Good().Bytes()); err == nil || !strings.Contains(err.Error(), "under a tag") {
		t.Errorf("got %v", err)
	}
}

func TestParseReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for s, want := range map[string]oci.Reference{
		"example.com/a/b:1":            {Host: "example.com", Repository: "a/b", Tag: "1"},
		"127.0.0.1:5000/a@" + digest:   {Host: "127.0.0.1:5000", Repository: "a", Digest: digest},
		"example.com/a:1@" + digest:    {Host: "example.com", Repository: "a", Digest: digest},
		"oci:some/folder:1":            {Folder: "some/folder", Tag: "1"},
		"oci:/some/folder@" + digest:   {Folder: "/some/folder", Digest: digest},
		"oci:/some:where/folder:v1.0x": {Folder: "/some:where/folder", Tag: "v1.0x"},
	} {
		got, err := oci.ParseReference(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "a", "example.com/a", "example.com/A:1", "example.com/a@sha256:12", "example.com/a@sha512:" + strings.Repeat("ab", 64),
		"oci:", "oci:folder", "oci:folder:", "oci::1", "oci:folder@sha256:12", "oci:fol:der/x", "oci:folder:a/b", "oci:folder:-", "https://example.com/a:1",
	} {
		if r, err := oci.ParseReference(s); err == nil {
			t.Errorf("%q was taken for %+v", s, r)
		} else if !strings.Contains(err.Error(), "registry.example.com/") {
			t.Errorf("%q: %v does not say what a reference looks like", s, err)
		}
	}
}
