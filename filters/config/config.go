// Package config is the configuration the control plane writes and the module
// reads: which form the plugin takes, whom it serves, and the policy table.
//
// It is pure and versioned. It never guesses: what it cannot read, it refuses
// whole, so that the configuration before it stays.
package config

import (
	"encoding/binary"

	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// magic opens a configuration; its last byte is the version of the layout.
const magic = "wmc\x03"

// Form is the place in the sidecar that a plugin takes.
type Form byte

// The forms of the module.
const (
	// Access decides about requests, in the HTTP filter chain.
	Access Form = 1
	// Lifetime ends connections whose peer's certificate ended, as a network
	// filter in front of HTTP.
	Lifetime Form = 2
	// Connections decides about connections to opaque ports, as a network filter.
	Connections Form = 3
	// AccessOnly is Access without counting requests: what deciding alone costs.
	AccessOnly Form = 4
)

// The names by which the sidecar discovers the forms.
const (
	AccessFilter      = "wasmesh.access"
	LifetimeFilter    = "wasmesh.lifetime"
	ConnectionsFilter = "wasmesh.connections"
)

// Config is one plugin's configuration.
type Config struct {
	Form Form
	// Destination is what metrics call the workload.
	Destination identity.Workload
	// Version identifies the table; the filter reports it as a gauge. Below
	// 2^53, so that every reader of numbers keeps it whole.
	Version uint64
	// Mode is what becomes of what the table does not allow.
	Mode policy.Mode
	// Tells has the filter leave its verdict for the sidecar's access log.
	Tells bool
	// Table is an encoded policy.Table; the Lifetime form has none.
	Table []byte
}

// tells is set in the byte of the mode, so that a configuration without it is what
// it was before there was such a thing.
const tells = 1 << 7

// Encode returns the bytes the module reads.
func (c Config) Encode() []byte {
	mode := byte(c.Mode)
	if c.Tells {
		mode |= tells
	}
	b := append([]byte(magic), byte(c.Form), mode)
	b = binary.AppendUvarint(b, c.Version)
	for _, text := range []string{c.Destination.Namespace, c.Destination.Kind, c.Destination.Name} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return append(b, c.Table...)
}

// Decode reads what Encode wrote and checks the table. The result keeps
// references into b, which must not change afterwards.
func Decode(b []byte) (Config, *policy.Table, bool) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return Config{}, nil, false
	}
	mode := b[len(magic)+1]
	c := Config{Form: Form(b[len(magic)]), Mode: policy.Mode(mode &^ tells), Tells: mode&tells != 0}
	if c.Mode > policy.Permissive {
		return Config{}, nil, false
	}
	b = b[len(magic)+2:]
	var n int
	if c.Version, n = binary.Uvarint(b); n <= 0 {
		return Config{}, nil, false
	}
	b = b[n:]
	for _, text := range []*string{&c.Destination.Namespace, &c.Destination.Kind, &c.Destination.Name} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Config{}, nil, false
		}
		*text, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	c.Table = b
	switch c.Form {
	case Lifetime:
		return c, nil, len(c.Table) == 0
	case Access, AccessOnly, Connections:
		table, ok := policy.Decode(c.Table)
		return c, table, ok
	}
	return Config{}, nil, false
}
