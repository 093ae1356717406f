package mesh

import "testing"

func TestParseSPIFFEID(t *testing.T) {
	want := Name{Namespace: "shop", Name: "buyer.v2"}
	if got, ok := ParseSPIFFEID("mesh.test", SPIFFEID("mesh.test", want)); !ok || got != want {
		t.Errorf("got %v, %v", got, ok)
	}
	for _, id := range []string{
		"", SPIFFEPrefix("mesh.test"), "spiffe://mesh.test/ns/shop", "spiffe://mesh.test/ns/shop/sa/", "spiffe://mesh.test/ns//sa/buyer",
		"spiffe://other.test/ns/shop/sa/buyer", "spiffe://mesh.test.evil/ns/shop/sa/buyer", "spiffe://mesh.test/ns/shop/sa/buyer/sa/x",
		"spiffe://mesh.test/ns/sh.op/sa/buyer", "spiffe://mesh.test/ns/shop/sa/Buyer", "spiffe://mesh.test/ns/shop/sa/buyer\n", "http://mesh.test/ns/shop/sa/buyer",
	} {
		if got, ok := ParseSPIFFEID("mesh.test", id); ok {
			t.Errorf("%q is taken for %v", id, got)
		}
	}
}
