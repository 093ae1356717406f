package redirect

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxItems bounds a list: each is a rule that every new connection passes.
const maxItems = 256

// ParsePorts reads port numbers such as "80,443"; nothing is none.
func ParsePorts(text string) ([]uint16, error) {
	return parse(text, func(item string) (uint16, error) {
		n, err := number(item, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%q is not a port; write numbers from 1 to 65535 with commas between them", clip(item))
		}
		return uint16(n), nil
	})
}

// ParseUIDs reads numeric users such as "1000,1001"; nothing is none.
func ParseUIDs(text string) ([]uint32, error) {
	return parse(text, func(item string) (uint32, error) {
		n, err := number(item, 32)
		if err != nil || n == 1<<32-1 {
			return 0, fmt.Errorf("%q is not a numeric user; write numbers with commas between them", clip(item))
		}
		return uint32(n), nil
	})
}

// ParseCIDRs reads networks of both families such as "10.0.0.0/8,fd00::/8"; an
// address alone is that one. Nothing is none.
func ParseCIDRs(text string) ([]netip.Prefix, error) {
	return parse(text, func(item string) (netip.Prefix, error) {
		if a, err := netip.ParseAddr(item); err == nil && a.Zone() == "" {
			a = a.Unmap()
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
		p, err := netip.ParsePrefix(item)
		switch {
		case err != nil || p.Addr().Is4In6():
			return netip.Prefix{}, fmt.Errorf("%q is not a network; write them like 10.0.0.0/8 or fd00::/8 with commas between them", clip(item))
		case p != p.Masked():
			return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its length; did you mean %s?", p, p.Masked())
		}
		return p, nil
	})
}

// parse reads a list with commas, each item once.
func parse[T comparable](text string, read func(string) (T, error)) ([]T, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []T
	seen := map[T]bool{}
	for item := range strings.SplitSeq(text, ",") {
		v, err := read(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		if seen[v] {
			continue
		}
		if len(out) == maxItems {
			return nil, fmt.Errorf("more than %d are listed; join neighbours, or leave the whole direction out of the mesh", maxItems)
		}
		seen[v] = true
		out = append(out, v)
	}
	return out, nil
}

// number reads plain decimal digits; the sign that strconv's other readers take
// is none.
func number(item string, bits int) (uint64, error) { return strconv.ParseUint(item, 10, bits) }

// clip keeps a name of a megabyte from filling logs.
func clip(text string) string {
	const longest = 100
	if len(text) <= longest {
		return text
	}
	return text[:longest] + "..."
}
