package wasmtest_test

import "encoding/binary"

// tiny describes a module small enough to write by hand: what a compiler would
// not produce, the checks must still name.
type tiny struct {
	imports   []tinyFunc
	functions []tinyFunc
	noMemory  bool
	// pages is the initial size of the memory.
	pages uint32
}

// tinyFunc has types in letters, i for i32, and a body without its locals.
type tinyFunc struct {
	module, name   string
	params, result string
	body           []byte
}

// Opcodes that the hand-written bodies use.
const (
	opUnreachable = 0x00
	opEnd         = 0x0b
	opCall        = 0x10
	opDrop        = 0x1a
	opI32Const    = 0x41
)

// proxyModule is the least that Envoy loads: a version, an allocator, memory.
func proxyModule(more ...tinyFunc) tiny {
	return tiny{pages: 1, functions: append([]tinyFunc{
		{name: "proxy_abi_version_0_2_1"},
		{name: "proxy_on_memory_allocate", params: "i", result: "i", body: []byte{opI32Const, 8}},
	}, more...)}
}

func (t tiny) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	var types, imports, functions, exports, code [][]byte
	for i, f := range append(append([]tinyFunc{}, t.imports...), t.functions...) {
		types = append(types, append(append([]byte{0x60}, valTypes(f.params)...), valTypes(f.result)...))
		if i < len(t.imports) {
			entry := append(name(f.module), name(f.name)...)
			imports = append(imports, append(append(entry, 0), leb(uint32(i))...))
			continue
		}
		functions = append(functions, leb(uint32(i)))
		exports = append(exports, append(append(name(f.name), 0), leb(uint32(i))...))
		body := append(append([]byte{0}, f.body...), opEnd)
		code = append(code, append(leb(uint32(len(body))), body...))
	}
	out = append(out, section(1, types)...)
	out = append(out, section(2, imports)...)
	out = append(out, section(3, functions)...)
	if !t.noMemory {
		out = append(out, section(5, [][]byte{append([]byte{0}, leb(t.pages)...)})...)
		exports = append(exports, append(name("memory"), 2, 0))
	}
	out = append(out, section(7, exports)...)
	return append(out, section(10, code)...)
}

func section(id byte, entries [][]byte) []byte {
	content := leb(uint32(len(entries)))
	for _, e := range entries {
		content = append(content, e...)
	}
	return append(append([]byte{id}, leb(uint32(len(content)))...), content...)
}

func name(s string) []byte { return append(leb(uint32(len(s))), s...) }

func leb(n uint32) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func valTypes(letters string) []byte {
	out := leb(uint32(len(letters)))
	for _, l := range letters {
		if l == 'I' {
			out = append(out, 0x7e)
		} else {
			out = append(out, 0x7f)
		}
	}
	return out
}
