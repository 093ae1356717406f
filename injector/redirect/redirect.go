// Package redirect says which connections of a pod its sidecar gets: the rules
// of the redirection, as values.
//
// It is pure; package netfilter below it puts the rules in force. What the rules
// let through unasked is what they name, never what they forgot: every other TCP
// connection, over IPv4 and IPv6, is redirected.
package redirect

import (
	"fmt"
	"net/netip"
	"strings"
)

// The ports and the user of a pod's sidecar.
const (
	OutboundPort = 15001
	InboundPort  = 15006
	ProbesPort   = 15020
	HealthPort   = 15021
	ProxyUID     = 1337
)

// Inside4 and Inside6 are the addresses from which a sidecar dials the
// application beside it. Who dials the pod's own address as ProxyUID from
// another one is taken for a caller of the mesh: a pod that calls its own service.
const (
	Inside4 = "127.0.0.6"
	Inside6 = "::1"
)

// Table names the table that holds all rules, in the inet family.
const Table = "wasmesh"

// Options say what is redirected where, and what is left alone.
type Options struct {
	// OutboundPort and InboundPort are where the sidecar accepts what applications
	// dial, and what is dialled to them.
	OutboundPort, InboundPort uint16
	// ProxyUID is the user of the sidecar, whose own connections go out as they are.
	ProxyUID uint32
	// Excluded ports, networks and users are reached and reach others without the
	// sidecar: no policy holds there.
	ExcludeInboundPorts  []uint16
	ExcludeOutboundPorts []uint16
	ExcludeOutboundCIDRs []netip.Prefix
	ExcludeUIDs          []uint32
}

// Chain is where connections pass on their way.
type Chain string

// The two chains: what applications dial, and what comes from outside.
const (
	Output     Chain = "output"
	Prerouting Chain = "prerouting"
)

// Rule is one rule about TCP connections. All of its conditions have to be met;
// one that is left empty is.
type Rule struct {
	Chain Chain
	// Name says what the rule is for; its packet counter is known by it.
	Name string
	// UID is the user whose socket it is, if HasUID.
	UID    uint32
	HasUID bool
	// Loopback: the connection stays inside the pod.
	Loopback bool
	// Port is the destination's.
	Port uint16
	// To holds the destination; NotTo and NotFrom do not hold it and the source.
	// All networks of one rule are of one family, and so are its connections.
	To, NotTo, NotFrom netip.Prefix
	// Redirect is the port to go to; 0 lets the connection go its own way.
	Redirect uint16
}

// Rules returns the rules in their order: the first that fits decides.
func Rules(o Options) ([]Rule, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return append(output(o), prerouting(o)...), nil
}

func output(o Options) []Rule {
	all := []Rule{
		// The sidecar dials its own pod as an endpoint of a service: into the mesh.
		self(o, "127.0.0.0/8", Inside4+"/32"),
		self(o, "::1/128", Inside6+"/128"),
		{Name: "proxy", UID: o.ProxyUID, HasUID: true},
		{Name: "loopback", Loopback: true},
	}
	for _, uid := range o.ExcludeUIDs {
		all = append(all, Rule{Name: "excluded", UID: uid, HasUID: true})
	}
	for _, port := range o.ExcludeOutboundPorts {
		all = append(all, Rule{Name: "excluded", Port: port})
	}
	for _, network := range o.ExcludeOutboundCIDRs {
		all = append(all, Rule{Name: "excluded", To: network.Masked()})
	}
	return in(Output, append(all, Rule{Name: "outbound", Redirect: o.OutboundPort}))
}

func self(o Options, loopback, inside string) Rule {
	return Rule{
		Name: "self", UID: o.ProxyUID, HasUID: true, Loopback: true,
		NotTo: netip.MustParsePrefix(loopback), NotFrom: netip.MustParsePrefix(inside), Redirect: o.InboundPort,
	}
}

func prerouting(o Options) []Rule {
	all := []Rule{
		{Name: "loopback", Loopback: true},
		// The sidecar itself answers there, to the kubelet. No other port of the
		// range is spared: what listens there could be reached around the sidecar.
		{Name: "health", Port: ProbesPort},
		{Name: "health", Port: HealthPort},
	}
	for _, port := range o.ExcludeInboundPorts {
		all = append(all, Rule{Name: "excluded", Port: port})
	}
	return in(Prerouting, append(all, Rule{Name: "inbound", Redirect: o.InboundPort}))
}

func in(chain Chain, rules []Rule) []Rule {
	for i := range rules {
		rules[i].Chain = chain
	}
	return rules
}

// check refuses what would send connections in circles or nowhere.
func (o Options) check() error {
	switch {
	case o.OutboundPort == 0 || o.InboundPort == 0:
		return fmt.Errorf("redirection to port %d and %d: both must be from 1 to 65535", o.OutboundPort, o.InboundPort)
	case o.OutboundPort == o.InboundPort:
		return fmt.Errorf("redirection: port %d cannot take both directions; give two ports", o.InboundPort)
	case o.ProxyUID == 0:
		return fmt.Errorf("redirection: user 0 would exempt every process that runs as root; give the sidecar a user of its own, such as %d", ProxyUID)
	}
	return nil
}

// String writes the rule as nft does.
func (r Rule) String() string {
	var words []string
	say := func(format string, a ...any) { words = append(words, fmt.Sprintf(format, a...)) }
	if r.HasUID {
		say("meta skuid %d", r.UID)
	}
	if r.Loopback && r.Chain == Output {
		say(`oifname "lo"`)
	} else if r.Loopback {
		say(`iifname "lo"`)
	}
	if r.To.IsValid() {
		say("%s daddr %s", family(r.To), r.To)
	}
	if r.NotTo.IsValid() {
		say("%s daddr != %s", family(r.NotTo), r.NotTo)
	}
	if r.NotFrom.IsValid() {
		say("%s saddr != %s", family(r.NotFrom), r.NotFrom)
	}
	if r.Port != 0 {
		say("tcp dport %d", r.Port)
	} else {
		say("meta l4proto tcp")
	}
	if r.Redirect != 0 {
		say("counter redirect to :%d", r.Redirect)
	} else {
		say("counter return")
	}
	return fmt.Sprintf("%s: %s comment %q", r.Chain, strings.Join(words, " "), r.Name)
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}
