package identity_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/identity"
)

func TestLabelReadsBack(t *testing.T) {
	for _, l := range []identity.Label{
		{Namespace: "shop", Kind: "deployment", Name: "bookstore-6d4-x2"},
		{Namespace: "shop", Kind: "workload", Name: "vm.example.org"},
		{Namespace: "0", Kind: "k", Name: strings.Repeat("a", 63) + "." + strings.Repeat("b", 63)},
	} {
		name, ok := l.DNSName()
		if !ok {
			t.Errorf("%+v has no name", l)
		}
		if back, ok := identity.ParseLabel(name); !ok || back != l {
			t.Errorf("%q: got %+v, %v; want %+v", name, back, ok, l)
		}
		if l.String() != l.Namespace+"/"+l.Name {
			t.Errorf("%+v is written as %s", l, l)
		}
	}
}

func TestLabelWithoutName(t *testing.T) {
	for _, l := range []identity.Label{
		{}, {Namespace: "n", Kind: "k"}, {Kind: "k", Name: "a"}, {Namespace: "n", Name: "a"},
		{Namespace: "n.m", Kind: "k", Name: "a"}, {Namespace: "k.n", Kind: "k", Name: "a"}, {Namespace: "n", Kind: "k.l", Name: "a"},
		{Namespace: "N", Kind: "k", Name: "a"}, {Namespace: "n", Kind: "k", Name: "a_b"}, {Namespace: "n", Kind: "k", Name: "a..b"},
		{Namespace: "n", Kind: "k", Name: "-a"}, {Namespace: "n", Kind: "k", Name: "a-"}, {Namespace: "n", Kind: "k", Name: "é"},
		{Namespace: "n", Kind: "k", Name: strings.Repeat("a", 64)},
		{Namespace: "n", Kind: "k", Name: strings.Repeat("a.", 120) + "a"},
	} {
		if name, ok := l.DNSName(); ok {
			t.Errorf("%+v is named %q", l, name)
		}
	}
}

// TestLongestName is at RFC 1035's limit, and one byte beyond it.
func TestLongestName(t *testing.T) {
	rest := ".k.n.peer.wasmesh.internal"
	name := strings.Repeat("a.", (253-len(rest))/2)
	name += strings.Repeat("a", 253-len(rest)-len(name))
	if _, ok := identity.ParseLabel(name + rest); !ok {
		t.Errorf("253 bytes are refused")
	}
	if _, ok := identity.ParseLabel("b" + name + rest); ok {
		t.Errorf("254 bytes are taken")
	}
}

func TestForeignNames(t *testing.T) {
	for _, name := range []string{
		"", ".", "-", "shop.test", "peer.wasmesh.internal", ".peer.wasmesh.internal", "n.peer.wasmesh.internal",
		"k.n.peer.wasmesh.internal", ".k.n.peer.wasmesh.internal", "a.k.n.peer.wasmesh.internal.", "a.k.n.peer.wasmesh.internal.evil.test",
		"a.k.n.xpeer.wasmesh.internal", "a.k.n.PEER.wasmesh.internal", "*.k.n.peer.wasmesh.internal", "a.k..peer.wasmesh.internal",
	} {
		if l, ok := identity.ParseLabel(name); ok {
			t.Errorf("%q is read as %+v", name, l)
		}
	}
}

func FuzzParseLabel(f *testing.F) {
	f.Add("bookstore-0.deployment.shop.peer.wasmesh.internal")
	f.Add("a.b.c.d.peer.wasmesh.internal")
	f.Fuzz(func(t *testing.T, name string) {
		l, ok := identity.ParseLabel(name)
		if !ok {
			return
		}
		if back, ok := l.DNSName(); !ok || back != name {
			t.Fatalf("%q is read as %+v, which is named %q, %v", name, l, back, ok)
		}
	})
}
