package guest_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/guest"
)

const (
	peer  = "spiffe://mesh.test/ns/shop/sa/reader"
	label = "reader-0.deployment.shop.peer.wasmesh.internal"
)

func TestParseConnection(t *testing.T) {
	for state, want := range map[string]guest.Connection{
		peer + "|" + label + "|1893456000|80": {Peer: peer, Label: label, Expires: 1893456000, Port: 80},
		peer + "|" + label + "|1|65535":       {Peer: peer, Label: label, Expires: 1, Port: 65535},
		// No certificate.
		"-|-|-|80": {Port: 80},
		"|||80":    {Port: 80},
		// Two names of one kind: which of them would the rights be of?
		peer + "," + peer + "2|" + label + "|1|80": {Label: label, Expires: 1, Port: 80},
		peer + "|a,b|1|80":                         {Peer: peer, Expires: 1, Port: 80},
		// Numbers that do not fit, or are none.
		peer + "||4611686018427387904|65536": {Peer: peer, Expires: 1 << 62},
		peer + "||4611686018427387905|99999": {Peer: peer},
		peer + "||18446744073709551617|-1":   {Peer: peer},
		peer + "||" + nines + "|" + nines:    {Peer: peer},
		peer + "||-1|+80":                    {Peer: peer},
		peer + "||1.5| 80":                   {Peer: peer},
		peer + "||0x10|80 ":                  {Peer: peer},
		// A part too many: a bar inside a name would move what follows it.
		peer + "||1|80|81":                         {},
		peer + "|x|9999999999|80||1|80":            {},
		"-|" + label + "|" + peer + "|1893456000|": {},
		// Parts missing.
		"":                 {},
		"|":                {},
		peer:               {Peer: peer},
		peer + "|" + label: {Peer: peer, Label: label},
		peer + "||1":       {Peer: peer, Expires: 1},
		peer + "||1|":      {Peer: peer, Expires: 1},
	} {
		if got := guest.ParseConnection(state); got != want {
			t.Errorf("%.120q: got %+v, want %+v", state, got, want)
		}
	}
}

var nines = strings.Repeat("9", 100)

// TestConnectionFormat holds the format and its reader together.
func TestConnectionFormat(t *testing.T) {
	values := strings.NewReplacer(
		"%DOWNSTREAM_PEER_URI_SAN%", peer, "%DOWNSTREAM_PEER_DNS_SAN%", label, "%DOWNSTREAM_PEER_CERT_V_END(%s)%", "7",
	)
	want := guest.Connection{Peer: peer, Label: label, Expires: 7, Port: 14001}
	if got := guest.ParseConnection(values.Replace(guest.ConnectionFormat) + "14001"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add(peer + "|" + label + "|1893456000|80")
	f.Add("-|-|-|99999999999999999999")
	f.Fuzz(func(t *testing.T, state string) {
		c := guest.ParseConnection(state)
		if c.Expires < 0 || c.Peer == "-" || strings.ContainsAny(c.Peer+c.Label, ",|") {
			t.Fatalf("%q: got %+v", state, c)
		}
		// Nobody is taken for another: a name is a whole part, at its own place.
		uri, rest, _ := strings.Cut(state, "|")
		dns, _, _ := strings.Cut(rest, "|")
		if c.Peer != "" && c.Peer != uri || c.Label != "" && c.Label != dns {
			t.Fatalf("%q: got %+v", state, c)
		}
		again := c.Peer + "|" + c.Label + "|" + strconv.FormatInt(c.Expires, 10) + "|" + strconv.Itoa(int(c.Port))
		if back := guest.ParseConnection(again); back != c {
			t.Fatalf("%q: got %+v, and from that %+v", state, c, back)
		}
	})
}
