package oci

import (
	"net/netip"
	"testing"
)

// Where a registry may be, and where it may lead.
func TestAddresses(t *testing.T) {
	g := guard{host: "registry.example.com"}
	local := guard{host: "registry.example.com", loopback: true}
	for address, want := range map[string]struct{ named, led, local bool }{
		"93.184.216.34":          {true, true, true},
		"2606:2800:220:1::1":     {true, true, true},
		"10.0.0.7":               {true, false, true},
		"192.168.3.4":            {true, false, true},
		"172.16.9.9":             {true, false, true},
		"fd12::7":                {true, false, true},
		"100.64.0.1":             {true, false, true},
		"127.0.0.1":              {false, false, true},
		"127.154.3.3":            {false, false, true},
		"::1":                    {false, false, true},
		"::ffff:127.0.0.1":       {false, false, true},
		"64:ff9b::7f00:1":        {false, false, true},
		"169.254.169.254":        {},
		"::ffff:169.254.169.254": {},
		"64:ff9b::a9fe:a9fe":     {},
		"fe80::1%eth0":           {},
		"fd00:ec2::254":          {},
		"100.100.100.200":        {},
		"168.63.129.16":          {},
		"192.0.0.192":            {},
		"0.0.0.0":                {},
		"::":                     {},
		"224.0.0.1":              {},
		"ff02::1":                {},
		"255.255.255.255":        {},
		"64:ff9b::6464:64c8":     {},
		"::ffff:100.100.100.200": {},
		"64:ff9b::a00:7":         {true, false, true},
		"::ffff:10.0.0.7":        {true, false, true},
		"64:ff9b::5db8:d822":     {true, true, true},
	} {
		a := netip.MustParseAddr(address)
		got := struct{ named, led, local bool }{
			g.check("Registry.example.com", a) == nil, g.check("tokens.example.com", a) == nil, local.check("registry.example.com", a) == nil,
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", address, got, want)
		}
		if a.IsLoopback() && local.check("tokens.example.com", a) == nil {
			t.Errorf("%s: another host may be on this machine", address)
		}
	}
}
