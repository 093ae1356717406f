package redirect

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func standard() Options {
	return Options{OutboundPort: OutboundPort, InboundPort: InboundPort, ProxyUID: ProxyUID}
}

// TestRules compares with what nft would show. UPDATE=1 writes the files anew.
func TestRules(t *testing.T) {
	everything := standard()
	everything.ExcludeInboundPorts, everything.ExcludeOutboundPorts = []uint16{9090, 9091}, []uint16{443}
	everything.ExcludeOutboundCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	everything.ExcludeUIDs = []uint32{1000, 0}
	other := Options{OutboundPort: 1, InboundPort: 2, ProxyUID: 3}
	for name, o := range map[string]Options{"standard": standard(), "everything": everything, "other": other} {
		rules, err := Rules(o)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, r := range rules {
			text.WriteString(r.String() + "\n")
		}
		path := filepath.Join("testdata", name+".txt")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != text.String() {
			t.Errorf("%s: %v, got\n%s", path, err, text.String())
		}
	}
}

func TestRulesRefused(t *testing.T) {
	for cause, change := range map[string]func(*Options){
		"both must be":        func(o *Options) { o.InboundPort = 0 },
		"cannot take both":    func(o *Options) { o.InboundPort = o.OutboundPort },
		"user 0 would exempt": func(o *Options) { o.ProxyUID = 0 },
	} {
		o := standard()
		change(&o)
		if _, err := Rules(o); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%+v: %v, want %q", o, err, cause)
		}
	}
}

func TestParse(t *testing.T) {
	if ports, err := ParsePorts(" 80, 443,80 "); err != nil || len(ports) != 2 || ports[1] != 443 {
		t.Error(ports, err)
	}
	if uids, err := ParseUIDs("0,4294967294"); err != nil || len(uids) != 2 {
		t.Error(uids, err)
	}
	if nets, err := ParseCIDRs("10.0.0.0/8,fd00::/8,192.0.2.1,::ffff:192.0.2.2"); err != nil || len(nets) != 4 || nets[3].String() != "192.0.2.2/32" {
		t.Error(nets, err)
	}
	for _, text := range []string{"", "  "} {
		if ports, err := ParsePorts(text); err != nil || ports != nil {
			t.Errorf("%q: %v %v", text, ports, err)
		}
	}
	refused := map[string]func(string) error{
		"0": portError, "65536": portError, "-1": portError, "+80": portError, "80,": portError, "80-90": portError, "http": portError, "0x50": portError, "8_0": portError,
		"4294967295": uidError, "root": uidError, "-2": uidError,
		"10.0.0.1/8": cidrError, "10.0.0.0/33": cidrError, "fe80::1%eth0": cidrError, "::ffff:10.0.0.0/104": cidrError, "10.0/8": cidrError,
		strings.Repeat("x", 1<<20): portError,
	}
	for text, parse := range refused {
		if err := parse(text); err == nil || len(err.Error()) > 400 {
			t.Errorf("%.50q: %v", text, err)
		}
	}
	var many []string
	for i := range maxItems + 1 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
	}
	if err := cidrError(strings.Join(many, ",")); err == nil || cidrError(strings.Join(many[1:], ",")) != nil {
		t.Errorf("the bound is not %d: %v", maxItems, err)
	}
}

func portError(text string) error { _, err := ParsePorts(text); return err }
func uidError(text string) error  { _, err := ParseUIDs(text); return err }
func cidrError(text string) error { _, err := ParseCIDRs(text); return err }

// FuzzParse: what is accepted is a rule each, in its bounds, and reads the same
// again; nothing panics.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"80,443", "10.0.0.0/8,fd00::/8", "1000", "", ",", "::1", "0/0", "65535"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := standard()
		if ports, err := ParsePorts(text); err == nil {
			o.ExcludeInboundPorts, o.ExcludeOutboundPorts = ports, ports
		}
		o.ExcludeUIDs, _ = ParseUIDs(text)
		networks, _ := ParseCIDRs(text)
		for _, n := range networks {
			if again, err := ParseCIDRs(n.String()); err != nil || len(again) != 1 || again[0] != n || n != n.Masked() {
				t.Errorf("%s reads as %v: %v", n, again, err)
			}
		}
		o.ExcludeOutboundCIDRs = networks
		rules, err := Rules(o)
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := Rules(standard())
		want := len(plain) + 2*len(o.ExcludeInboundPorts) + len(o.ExcludeUIDs) + len(networks)
		if len(rules) != want || len(o.ExcludeInboundPorts) > maxItems || len(o.ExcludeUIDs) > maxItems || len(networks) > maxItems {
			t.Errorf("%d rules, want %d", len(rules), want)
		}
		for _, p := range o.ExcludeInboundPorts {
			if p == 0 {
				t.Error("port 0, which a rule reads as all ports")
			}
		}
	})
}
