package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/wasmesh/wasmesh/wasm-registry/module"
)

const (
	// unpackedBytes bounds what a layer may unpack to until the module is found.
	unpackedBytes = module.MaxBytes + 16<<20
	maxEntries    = 1024
)

// unpack takes the module out of a layer: the first file whose base name is
// plugin.wasm. It reads on only until there, and what a header claims decides
// nothing.
func unpack(layer []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: z, N: unpackedBytes}
	t := tar.NewReader(bounded)
	wasm, err := find(t)
	if err != nil && bounded.N == 0 {
		err = fmt.Errorf("it unpacks to more than %d bytes", unpackedBytes)
	}
	return wasm, err
}

func find(t *tar.Reader) ([]byte, error) {
	for range maxEntries {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("there is no %s in it", PluginFile)
		}
		if err != nil {
			return nil, err
		}
		if path.Base(h.Name) != PluginFile {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("%s in it is not a plain file", h.Name)
		}
		wasm, err := io.ReadAll(io.LimitReader(t, module.MaxBytes+1))
		if err == nil && len(wasm) > module.MaxBytes {
			err = fmt.Errorf("%w: the module has more than %d bytes", module.ErrSize, module.MaxBytes)
		}
		return wasm, err
	}
	return nil, fmt.Errorf("there is no %s in the first %d entries", PluginFile, maxEntries)
}
