package config_test

import (
	"bytes"
	"testing"

	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
)

func access() config.Config {
	table := policy.Compile([]policy.Grant{{
		Name: "shop/readers", Sources: []string{"spiffe://mesh.test/ns/shop/sa/reader"},
		Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{{Name: "get", Methods: []string{"GET"}}},
	}})
	return config.Config{Form: config.Access, Destination: identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "bookstore"}, Version: 1<<53 - 1, Table: table.Encode()}
}

func lifetime() config.Config {
	return config.Config{Form: config.Lifetime, Destination: identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "bookstore"}}
}

func equal(a, b config.Config) bool {
	return a.Form == b.Form && a.Destination == b.Destination && a.Version == b.Version && a.Mode == b.Mode && a.Tells == b.Tells && bytes.Equal(a.Table, b.Table)
}

func TestBothFormsReadBack(t *testing.T) {
	none := policy.Compile(nil).Encode()
	for _, c := range []config.Config{
		access(), lifetime(), {Form: config.Access, Table: none},
		{Form: config.Access, Mode: policy.Audit, Tells: true, Table: none}, {Form: config.Connections, Tells: true, Table: none},
	} {
		got, table, ok := config.Decode(c.Encode())
		if !ok || !equal(got, c) {
			t.Errorf("%+v reads back as %+v, %v", c, got, ok)
		}
		if (table != nil) != (c.Form != config.Lifetime) {
			t.Errorf("form %d: table %v", c.Form, table)
		}
	}
}

func TestTableIsTheOneEncoded(t *testing.T) {
	_, table, ok := config.Decode(access().Encode())
	if !ok {
		t.Fatal("refused")
	}
	r := policy.Request{Peer: "spiffe://mesh.test/ns/shop/sa/reader", Method: "GET", Path: "/"}
	if v := table.Decide(r); !v.Allow || v.Rule != "shop/readers" {
		t.Errorf("got %+v", v)
	}
	if r.Method = "PUT"; table.Decide(r).Allow {
		t.Error("what is not granted is allowed")
	}
}

func TestOtherContentIsRefused(t *testing.T) {
	withTable, without := lifetime(), access()
	withTable.Table, without.Table = access().Table, nil
	unknown := access()
	for _, c := range []config.Config{withTable, without, {Form: 0, Table: unknown.Table}, {Form: 5, Table: unknown.Table}, {Form: config.Connections}, {Form: config.Access, Mode: 3, Table: unknown.Table}, {Form: config.Access, Mode: 3, Tells: true, Table: unknown.Table}, {Form: 255}} {
		if got, _, ok := config.Decode(c.Encode()); ok {
			t.Errorf("%+v is taken, as %+v", c, got)
		}
	}
}

// TestDamageIsRefused: every truncation of either form, and a change of any
// byte that says what the rest is.
func TestDamageIsRefused(t *testing.T) {
	for _, c := range []config.Config{access(), lifetime()} {
		b := c.Encode()
		for n := range b {
			if _, _, ok := config.Decode(b[:n]); ok {
				t.Errorf("form %d: %d of %d bytes are taken", c.Form, n, len(b))
			}
		}
		if _, _, ok := config.Decode(append(bytes.Clone(b), 0)); ok {
			t.Errorf("form %d: a byte too many is ignored", c.Form)
		}
		for i := range 4 {
			for flip := 1; flip < 256; flip++ {
				damaged := bytes.Clone(b)
				damaged[i] ^= byte(flip)
				if _, _, ok := config.Decode(damaged); ok {
					t.Errorf("form %d: byte %d may be %#x", c.Form, i, damaged[i])
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(access().Encode())
	f.Add(lifetime().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, table, ok := config.Decode(b)
		if !ok {
			return
		}
		if (table != nil) != (c.Form != config.Lifetime) {
			t.Fatalf("%+v: table %v", c, table)
		}
		if back, _, ok := config.Decode(c.Encode()); !ok || !equal(back, c) {
			t.Fatalf("%+v reads back as %+v, %v", c, back, ok)
		}
	})
}
