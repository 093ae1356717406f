package module

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Why Read refuses bytes: its errors wrap exactly one of these.
var (
	ErrSize      = errors.New("too large")
	ErrNotWasm   = errors.New("not a wasm binary")
	ErrComponent = errors.New("a wasm component, not a core module")
	ErrTruncated = errors.New("a truncated wasm module")
	ErrCorrupt   = errors.New("a corrupt wasm module")
	ErrABI       = errors.New("missing or unknown Proxy-Wasm ABI version")
)

// The ABI versions that sidecars run, the older one first: a module that
// declares both gets the fewer host calls.
const (
	ABI020 = "0.2.0"
	ABI021 = "0.2.1"
)

// Shape is what the bytes of a module say of it before anything runs.
type Shape struct {
	// ABI is the Proxy-Wasm ABI version that the module declares.
	ABI string
	// Imports are the functions it can call, sorted, each as "module.function".
	Imports []string
	// Exports are the functions that can be called in it, sorted.
	Exports []string
}

// Calls are the names of the host's functions that the module can call, sorted
// and without the names of their modules, as Envoy lists capabilities.
func (s Shape) Calls() []string {
	var names []string
	for _, imported := range s.Imports {
		_, name, _ := strings.Cut(imported, ".")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Callbacks are the names of the functions in the module that a proxy calls,
// sorted.
func (s Shape) Callbacks() []string {
	var names []string
	for _, name := range s.Exports {
		if strings.HasPrefix(name, "proxy_on_") {
			names = append(names, name)
		}
	}
	return names
}

// Read reads the shape of a module. It compiles and runs nothing: that a shape
// can be read does not mean that the module starts. The error names what is
// wrong and what to try.
func Read(wasm []byte) (Shape, error) {
	if len(wasm) > MaxBytes {
		return Shape{}, fmt.Errorf("%w: the module has %d bytes, at most %d are accepted", ErrSize, len(wasm), MaxBytes)
	}
	if err := checkPreamble(wasm); err != nil {
		return Shape{}, err
	}
	r := reader{rest: wasm[preambleBytes:], at: preambleBytes, missing: ErrTruncated}
	s, err := r.sections()
	if err != nil {
		return Shape{}, err
	}
	slices.Sort(s.Imports)
	slices.Sort(s.Exports)
	s.ABI, err = abiOf(s.Exports)
	return s, err
}

const preambleBytes = 8

// checkPreamble looks at the magic and at the version word, whose upper half is
// the layer: 0 is a core module, 1 a component.
func checkPreamble(wasm []byte) error {
	const magic = "\x00asm"
	switch head := string(wasm[:min(len(wasm), len(magic))]); {
	case head != magic && head == magic[:len(head)] && head != "":
		return fmt.Errorf("%w: it ends after %d bytes", ErrTruncated, len(wasm))
	case head != magic:
		return fmt.Errorf("%w: it does not begin with \\0asm", ErrNotWasm)
	case len(wasm) < preambleBytes:
		return fmt.Errorf("%w: it ends after %d bytes", ErrTruncated, len(wasm))
	}
	version, layer := binary.LittleEndian.Uint16(wasm[4:]), binary.LittleEndian.Uint16(wasm[6:])
	switch {
	case layer == 1:
		return fmt.Errorf("%w: build it for wasip1, not for wasip2 or as a component", ErrComponent)
	case layer != 0 || version != 1:
		return fmt.Errorf("%w: wasm version %d, layer %d is unknown", ErrCorrupt, version, layer)
	}
	return nil
}

// abiOf finds the version in the name of an export.
func abiOf(exports []string) (string, error) {
	const prefix = "proxy_abi_version_"
	other := ""
	for _, known := range []string{ABI020, ABI021} {
		if slices.Contains(exports, prefix+strings.ReplaceAll(known, ".", "_")) {
			return known, nil
		}
	}
	for _, name := range exports {
		if strings.HasPrefix(name, prefix) {
			other = name
		}
	}
	if other != "" {
		return "", fmt.Errorf("%w: it exports %.80s; versions %s and %s are supported", ErrABI, other, ABI020, ABI021)
	}
	return "", fmt.Errorf("%w: it exports no function %s0_2_0 or %s0_2_1; build it with a Proxy-Wasm SDK", ErrABI, prefix, prefix)
}
