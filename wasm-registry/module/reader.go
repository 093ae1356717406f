package module

import (
	"fmt"
	"unicode/utf8"
)

// The sections and kinds of the binary format that Read looks into.
const (
	sectionCustom    = 0
	sectionImport    = 2
	sectionExport    = 7
	sectionStart     = 8
	sectionDataCount = 12
	lastSection      = 13

	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
	kindTag      = 4
)

// reader takes the binary format apart. Nothing in it is allocated by a length
// that the bytes only claim.
type reader struct {
	rest []byte
	at   int // offset of rest in the module, for errors
	// missing is what it means that bytes are missing: at the end of the module it
	// was cut off, inside of a section the section lies.
	missing error
}

// sections walks over all sections: those that are not looked into must at
// least be there to their end, and claim no more entries than they have bytes.
// Measured: wazero makes room for all that is claimed, gigabytes for a module of
// twenty bytes.
func (r *reader) sections() (Shape, error) {
	var s Shape
	seen := map[byte]bool{}
	for len(r.rest) > 0 {
		id := r.rest[0]
		r.skip(1)
		if id > lastSection || id != sectionCustom && seen[id] {
			return s, r.corrupt(fmt.Sprintf("section %d is unknown or there twice", id))
		}
		seen[id] = true
		content, err := r.vector()
		if err != nil {
			return s, err
		}
		inner := reader{rest: content, at: r.at - len(content), missing: ErrCorrupt}
		switch id {
		case sectionStart, sectionDataCount: // not a list
		case sectionCustom:
			_, err = inner.name()
		case sectionImport:
			s.Imports, err = inner.imports()
		case sectionExport:
			s.Exports, err = inner.exports()
		default:
			_, err = inner.count()
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (r *reader) imports() ([]string, error) {
	count, err := r.count()
	if err != nil {
		return nil, err
	}
	var functions []string
	for range count {
		module, err := r.name()
		if err != nil {
			return nil, err
		}
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		kind, err := r.byte()
		if err != nil {
			return nil, err
		}
		if err := r.importType(kind); err != nil {
			return nil, err
		}
		if kind == kindFunction {
			functions = append(functions, module+"."+name)
		}
	}
	return functions, r.end()
}

// importType reads over the description of an import.
func (r *reader) importType(kind byte) error {
	switch kind {
	case kindFunction:
		return r.numbers(1)
	case kindTable:
		if _, err := r.byte(); err != nil {
			return err
		}
		return r.limits()
	case kindMemory:
		return r.limits()
	case kindGlobal:
		_, err := r.take(2)
		return err
	case kindTag:
		return r.numbers(2)
	}
	return r.corrupt(fmt.Sprintf("an import of kind %d", kind))
}

// limits reads over the size of a table or memory: a minimum and, with the
// lowest bit set, a maximum.
func (r *reader) limits() error {
	flags, err := r.byte()
	if err != nil {
		return err
	}
	if flags > 3 {
		return r.corrupt(fmt.Sprintf("limits of kind %d", flags))
	}
	return r.numbers(1 + int(flags&1))
}

func (r *reader) exports() ([]string, error) {
	count, err := r.count()
	if err != nil {
		return nil, err
	}
	var functions []string
	for range count {
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		kind, err := r.byte()
		if err != nil {
			return nil, err
		}
		if err := r.numbers(1); err != nil {
			return nil, err
		}
		if kind == kindFunction {
			functions = append(functions, name)
		}
	}
	return functions, r.end()
}

func (r *reader) name() (string, error) {
	b, err := r.vector()
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", r.corrupt("a name is not UTF-8")
	}
	return string(b), nil
}

// vector takes a length and that many bytes.
func (r *reader) vector() ([]byte, error) {
	length, err := r.number()
	if err != nil {
		return nil, err
	}
	return r.take(length)
}

func (r *reader) take(length uint32) ([]byte, error) {
	if uint64(length) > uint64(len(r.rest)) {
		return nil, fmt.Errorf("%w: %d bytes are announced at offset %d, %d are there", r.missing, length, r.at, len(r.rest))
	}
	b := r.rest[:length]
	r.skip(int(length))
	return b, nil
}

func (r *reader) byte() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// count reads how many entries follow, each of which has a byte at least.
func (r *reader) count() (uint32, error) {
	n, err := r.number()
	if err == nil && uint64(n) > uint64(len(r.rest)) {
		err = r.corrupt(fmt.Sprintf("%d entries are announced in %d bytes", n, len(r.rest)))
	}
	return n, err
}

// numbers reads over n numbers.
func (r *reader) numbers(n int) error {
	for range n {
		if _, err := r.number(); err != nil {
			return err
		}
	}
	return nil
}

// number reads an unsigned 32-bit number in LEB128, which has at most 5 bytes.
func (r *reader) number() (uint32, error) {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		b, err := r.byte()
		if err != nil {
			return 0, err
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n > 1<<32-1 {
				return 0, r.corrupt("a number has more than 32 bits")
			}
			return uint32(n), nil
		}
	}
	return 0, r.corrupt("a number has more than 5 bytes")
}

// end refuses what is left of a section after its last entry.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		return r.corrupt(fmt.Sprintf("%d bytes follow the last entry of a section", len(r.rest)))
	}
	return nil
}

func (r *reader) skip(n int) { r.rest, r.at = r.rest[n:], r.at+n }

func (r *reader) corrupt(why string) error {
	return fmt.Errorf("%w: %s, at offset %d", ErrCorrupt, why, r.at)
}
