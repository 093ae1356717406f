package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Port is one port of a Service at one cluster IP, with where it leads.
type Port struct {
	At       netip.AddrPort
	Backends []netip.AddrPort
	UDP      bool
}

// Translate replaces the node's translation of cluster IPs, as kube-proxy does:
// connections from pods and from the node itself go to any backend. A cluster IP
// without one has no route, which the caller sees at once.
func Translate(ports []Port) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: "wmrig", Family: nftables.TableFamilyINet}
	// Adding before deleting makes deletion right where there was no table yet.
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	for name, hook := range map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput,
	} {
		chain := c.AddChain(&nftables.Chain{
			Name: name, Table: table, Hooknum: hook,
			Type: nftables.ChainTypeNAT, Priority: nftables.ChainPriorityNATDest,
		})
		for _, p := range ports {
			for i, b := range p.Backends {
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: p.rule(b, len(p.Backends)-i)})
			}
		}
	}
	return c.Flush()
}

// rule sends one of left connections that came this far to the backend.
func (p Port) rule(backend netip.AddrPort, left int) []expr.Any {
	ip := p.At.Addr()
	family, offset, protocol := byte(unix.NFPROTO_IPV4), uint32(16), byte(unix.IPPROTO_TCP)
	if ip.Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	if p.UDP {
		protocol = unix.IPPROTO_UDP
	}
	rule := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(ip.BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ip.AsSlice()},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p.At.Port())},
	}
	if left > 1 {
		rule = append(rule,
			&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: uint32(left)},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)})
	}
	return append(rule,
		&expr.Immediate{Register: 1, Data: backend.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(backend.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegAddrMin: 1, RegProtoMin: 2})
}
