// Package moduletest assembles modules that are small enough to write by hand,
// good ones and such as no compiler would produce. It is for tests only, and
// never judges what it makes.
package moduletest

import "encoding/binary"

// Module is what to assemble. The zero value has no function at all.
type Module struct {
	// ABI is the name of the export that declares the ABI, if not empty.
	ABI       string
	Imports   []Func
	Functions []Func
	// Pages is the size of the memory, in 64 KiB, when it starts.
	Pages uint32
	// Table makes a table of functions with no entries that can grow.
	Table bool
}

// Func has types in letters, i for i32, and a body without its locals and its
// end.
type Func struct {
	Module, Name   string // Module for imports only
	Params, Result string
	Body           []byte
}

// Good is the least that a proxy loads: an ABI, an allocator and a memory, and
// with more functions what they do.
func Good(more ...Func) Module {
	allocate := Func{Name: "proxy_on_memory_allocate", Params: "i", Result: "i", Body: []byte{0x41, 8}} // i32.const 8
	return Module{ABI: "proxy_abi_version_0_2_1", Pages: 2, Functions: append([]Func{allocate}, more...)}
}

// Initialize is a module that does body when it starts.
func Initialize(body ...byte) Module {
	return Good(Func{Name: "_initialize", Body: body})
}

// Trap traps at start.
func Trap() Module { return Initialize(0x00) } // unreachable

// Endless never ends its start.
func Endless() Module { return Initialize(0x03, 0x40, 0x0c, 0x00, 0x0b) } // loop, br 0, end

// MemoryBomb takes memory until it gets none, and traps.
func MemoryBomb() Module {
	return Initialize(
		0x03, 0x40, // loop
		0x41, 0x10, 0x40, 0x00, // i32.const 16, memory.grow
		0x41, 0x7f, 0x47, // i32.const -1, i32.ne
		0x0d, 0x00, 0x0b, // br_if 0, end
		0x00) // unreachable
}

// TableBomb takes memory for a table of functions, of which a limit on the
// module's own memory knows nothing, as often as it gets it.
func TableBomb() Module {
	m := Initialize(
		0x03, 0x40, // loop
		0xd0, 0x70, // ref.null func
		0x41, 0x80, 0x80, 0x80, 0x08, // i32.const 1<<24
		0xfc, 0x0f, 0x00, // table.grow 0
		0x41, 0x7f, 0x47, // i32.const -1, i32.ne
		0x0d, 0x00, 0x0b, // br_if 0, end
		0x00) // unreachable
	m.Table = true
	return m
}

// LogFlood logs a page of memory again and again, without an end.
func LogFlood() Module {
	m := Initialize(
		0x03, 0x40, // loop
		0x41, 0x02, 0x41, 0x00, 0x41, 0x80, 0x80, 0x04, // level 2, address 0, length 1<<16
		0x10, 0x00, 0x1a, // call 0, drop
		0x0c, 0x00, 0x0b) // br 0, end
	m.Imports = []Func{{Module: "env", Name: "proxy_log", Params: "iii", Result: "i"}}
	return m
}

// Refusing answers false to a configuration that is not empty.
func Refusing() Module {
	return Good(Func{Name: "proxy_on_configure", Params: "ii", Result: "i",
		Body: []byte{0x20, 0x01, 0x45}}) // local.get 1, i32.eqz
}

// Bytes is the module in the binary format.
func (m Module) Bytes() []byte {
	var types, imports, functions, exports, code [][]byte
	all := append([]Func{}, m.Imports...)
	if m.ABI != "" {
		all = append(all, Func{Name: m.ABI})
	}
	all = append(all, m.Functions...)
	for i, f := range all {
		index := number(uint32(i))
		types = append(types, append(append([]byte{0x60}, letters(f.Params)...), letters(f.Result)...))
		if i < len(m.Imports) {
			imports = append(imports, join(name(f.Module), name(f.Name), []byte{0}, index))
			continue
		}
		functions = append(functions, index)
		exports = append(exports, join(name(f.Name), []byte{0}, index))
		body := join([]byte{0}, f.Body, []byte{0x0b})
		code = append(code, append(number(uint32(len(body))), body...))
	}
	exports = append(exports, join(name("memory"), []byte{2, 0}))
	out := join([]byte("\x00asm\x01\x00\x00\x00"), section(1, types), section(2, imports), section(3, functions))
	if m.Table {
		out = append(out, section(4, [][]byte{{0x70, 0, 0}})...)
	}
	return join(out, section(5, [][]byte{append([]byte{0}, number(m.Pages)...)}), section(7, exports), section(10, code))
}

func section(id byte, entries [][]byte) []byte {
	content := number(uint32(len(entries)))
	for _, e := range entries {
		content = append(content, e...)
	}
	return join([]byte{id}, number(uint32(len(content))), content)
}

func name(s string) []byte { return append(number(uint32(len(s))), s...) }

func number(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func letters(s string) []byte {
	out := number(uint32(len(s)))
	for range s {
		out = append(out, 0x7f) // i32
	}
	return out
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
