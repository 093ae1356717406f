package ca

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimiterForgets(t *testing.T) {
	var l limiter
	now := time.Now()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range maxCallers {
		if !l.allow(at(i), now) {
			t.Fatalf("caller %d was refused", i)
		}
	}
	if l.allow(at(maxCallers), now) || len(l.callers) != maxCallers {
		t.Fatalf("%d callers are remembered", len(l.callers))
	}
	if !l.allow(at(maxCallers), now.Add(forgetCallers+time.Second)) || len(l.callers) != 1 {
		t.Fatalf("%d callers are remembered", len(l.callers))
	}
	six := netip.MustParseAddr("2001:db8::1")
	for range burst {
		l.allow(six, now)
	}
	if l.allow(netip.MustParseAddr("2001:db8::2"), now) {
		t.Fatal("another address of the same network has a bucket of its own")
	}
}
