package guest_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// serialize writes a header map as a Proxy-Wasm host does.
func serialize(headers []policy.Header) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(headers)))
	for _, h := range headers {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(h.Name)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(h.Value)))
	}
	for _, h := range headers {
		b = append(append(append(append(b, h.Name...), 0), h.Value...), 0)
	}
	return b
}

func typical() []policy.Header {
	return []policy.Header{
		{Name: ":authority", Value: "shop.test:80"}, {Name: ":method", Value: "GET"}, {Name: ":path", Value: "/a?b"},
		{Name: "x-role", Value: "user"}, {Name: "x-role", Value: ""}, {Name: "", Value: "nameless"}, {Name: "x-nul", Value: "a\x00b"},
	}
}

func TestParsePairs(t *testing.T) {
	headers := typical()
	got, ok := guest.ParsePairs(serialize(headers), nil)
	if !ok || got.Method != "GET" || got.Path != "/a?b" || !slices.Equal(got.Headers, headers) {
		t.Errorf("got %+v, %v", got, ok)
	}
	none, ok := guest.ParsePairs(serialize(nil), nil)
	if !ok || none.Method != "" || none.Path != "" || len(none.Headers) != 0 {
		t.Errorf("an empty map: got %+v, %v", none, ok)
	}
}

// TestParsePairsForgetsReuse: what an earlier request left must not reach the
// decision about the next.
func TestParsePairsForgetsReuse(t *testing.T) {
	first, _ := guest.ParsePairs(serialize(typical()), nil)
	second, ok := guest.ParsePairs(serialize([]policy.Header{{Name: "a", Value: "b"}}), first.Headers)
	if !ok || second.Method != "" || second.Path != "" || len(second.Headers) != 1 || second.Headers[0].Name != "a" {
		t.Errorf("got %+v, %v", second, ok)
	}
}

func TestParsePairsDoesNotAllocate(t *testing.T) {
	b := serialize(typical())
	reuse := make([]policy.Header, 0, 16)
	if n := testing.AllocsPerRun(1000, func() { guest.ParsePairs(b, reuse) }); n != 0 {
		t.Errorf("ParsePairs allocates %v times", n)
	}
}

func TestParsePairsRefusesTruncation(t *testing.T) {
	b := serialize(typical())
	for n := range b {
		if _, ok := guest.ParsePairs(slices.Clone(b[:n]), nil); ok {
			t.Errorf("%d of %d bytes are taken for a header map", n, len(b))
		}
	}
}

func TestParsePairsRefusesHugeSizes(t *testing.T) {
	for at := 0; at < 12; at += 4 {
		for _, size := range []uint32{1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			b := serialize(typical())
			binary.LittleEndian.PutUint32(b[at:], size)
			if _, ok := guest.ParsePairs(b, nil); ok {
				t.Errorf("a size of %d at %d is believed", size, at)
			}
		}
	}
}

func FuzzParsePairs(f *testing.F) {
	f.Add(serialize(typical()))
	f.Add(serialize(nil))
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := guest.ParsePairs(b, nil)
		if !ok {
			return
		}
		again, ok := guest.ParsePairs(serialize(r.Headers), nil)
		if !ok || again.Method != r.Method || again.Path != r.Path || !slices.Equal(again.Headers, r.Headers) {
			t.Fatalf("%x: %+v reads back as %+v, %v", b, r, again, ok)
		}
	})
}
