package policy_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// exercise does with a table whatever a filter may; none of it may panic.
func exercise(table *policy.Table, requests []policy.Request) {
	for _, r := range requests {
		table.Decide(r)
		table.Explain(r)
	}
	table.Encode()
}

func TestEncodeRoundTrip(t *testing.T) {
	g := newGenerator(t, 5)
	for range 500 {
		table := policy.Compile(g.grants(g.IntN(6)))
		encoded := table.Encode()
		decoded, ok := policy.Decode(encoded)
		if !ok {
			t.Fatalf("refused: %x", encoded)
		}
		if again := decoded.Encode(); !bytes.Equal(again, encoded) {
			t.Fatalf("encoded again it differs:\n%x\n%x", encoded, again)
		}
		for range 5 {
			r := g.request()
			if got, want := decoded.Decide(r), table.Decide(r); got != want {
				t.Fatalf("%+v: decoded %+v, compiled %+v", r, got, want)
			}
		}
	}
}

func TestNilAndEmptyDeny(t *testing.T) {
	var zero policy.Table
	decoded, ok := policy.Decode(policy.Compile(nil).Encode())
	if !ok {
		t.Fatal("the empty table is refused")
	}
	for _, table := range []*policy.Table{&zero, policy.Compile(nil), decoded} {
		if v := table.Decide(request()); v.Allow || v.Reason != policy.ReasonPolicy {
			t.Errorf("got %+v", v)
		}
	}
}

// damaged is a table small enough to be damaged in every way.
func damaged(t testing.TB) ([]byte, []policy.Request) {
	g := newGenerator(t, 6)
	var requests []policy.Request
	for range 12 {
		requests = append(requests, g.request())
	}
	return policy.Compile(g.grants(4)).Encode(), requests
}

func TestDecodeRefusesTruncation(t *testing.T) {
	encoded, _ := damaged(t)
	for n := range encoded {
		if _, ok := policy.Decode(encoded[:n]); ok {
			t.Errorf("%d of %d bytes are taken for a table", n, len(encoded))
		}
	}
	if _, ok := policy.Decode(append(bytes.Clone(encoded), 0)); ok {
		t.Error("a byte too many is ignored")
	}
}

// TestDecodeSurvivesDamage: a damaged table is refused or is another table, but
// is never one that panics.
func TestDecodeSurvivesDamage(t *testing.T) {
	encoded, requests := damaged(t)
	refused, taken := 0, 0
	for i := range encoded {
		for flip := 1; flip < 256; flip++ {
			b := bytes.Clone(encoded)
			b[i] ^= byte(flip)
			table, ok := policy.Decode(b)
			if !ok {
				refused++
				continue
			}
			taken++
			exercise(table, requests)
		}
	}
	if refused == 0 || taken == 0 {
		t.Errorf("%d refused, %d taken: the damage is of one kind", refused, taken)
	}
}

// TestDecodeRefusesOtherVersions so that an old filter keeps what it has.
func TestDecodeRefusesOtherVersions(t *testing.T) {
	encoded, _ := damaged(t)
	for _, at := range []int{0, 1, 2, 3} {
		b := bytes.Clone(encoded)
		b[at]++
		if _, ok := policy.Decode(b); ok {
			t.Errorf("byte %d of the magic is not looked at", at)
		}
	}
}

// TestDecodeBoundsAllocation: counts in a short message must not reserve more
// than a small multiple of its length.
func TestDecodeBoundsAllocation(t *testing.T) {
	empty := policy.Compile(nil).Encode()
	huge := binary.AppendUvarint(bytes.Clone(empty[:4]), 1<<40)
	sources := append(bytes.Clone(empty[:4]), 0, 0, 0)
	sources = binary.AppendUvarint(sources, 1<<40)
	for _, b := range [][]byte{huge, sources} {
		if _, ok := policy.Decode(b); ok {
			t.Errorf("%x is taken for a table", b)
		}
	}
}

func FuzzDecodeTable(f *testing.F) {
	encoded, requests := damaged(f)
	f.Add(encoded)
	f.Add(policy.Compile(nil).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		table, ok := policy.Decode(b)
		if !ok {
			return
		}
		exercise(table, requests)
		if again, ok := policy.Decode(table.Encode()); !ok {
			t.Fatal("its own encoding is refused")
		} else if !bytes.Equal(again.Encode(), table.Encode()) {
			t.Fatal("its encoding is not stable")
		}
	})
}

// TestASourceWithoutANameIsRefused: it would be whoever has no certificate.
func TestASourceWithoutANameIsRefused(t *testing.T) {
	nobody := policy.Compile([]policy.Grant{{
		Name: "n/t", Sources: []string{"x"}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{{}},
	}}).Encode()
	end := len(nobody) - 3 // the name's length, the name, its list
	if table, ok := policy.Decode(append(nobody[:end:end], 0, 0)); ok {
		t.Errorf("it is taken, and allows: %+v", table.Decide(policy.Request{Method: "GET", Path: "/"}))
	}
}
