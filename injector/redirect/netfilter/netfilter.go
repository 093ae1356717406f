//go:build linux

// Package netfilter puts rules of redirect in force in a network namespace.
//
// It talks to the kernel itself, in one transaction: the rules are replaced as a
// whole or not at all, and there is never a moment without them. It must never
// decide what is redirected, and never start another program.
package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// Install replaces whatever an earlier Install left behind. It works on the
// network namespace of the calling thread.
func Install(rules []redirect.Rule) error {
	conn, err := nftables.New()
	if err != nil {
		return explain("open netfilter", err)
	}
	table := replaced(conn)
	conn.AddTable(table)
	accept := nftables.ChainPolicyAccept
	chains := map[redirect.Chain]*nftables.Chain{}
	for name, hook := range map[redirect.Chain]*nftables.ChainHook{
		redirect.Output: nftables.ChainHookOutput, redirect.Prerouting: nftables.ChainHookPrerouting,
	} {
		chains[name] = conn.AddChain(&nftables.Chain{
			Name: string(name), Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: hook, Priority: nftables.ChainPriorityNATDest, Policy: &accept,
		})
	}
	for _, r := range rules {
		chain, ok := chains[r.Chain]
		if !ok {
			return fmt.Errorf("rule %s: there is no chain %q", r, r.Chain)
		}
		conn.AddRule(&nftables.Rule{
			Table: table, Chain: chain, Exprs: expressions(r), UserData: userdata.AppendString(nil, userdata.TypeComment, r.Name),
		})
	}
	return explain("install the redirection", conn.Flush())
}

// Remove takes the rules away; where there are none it does nothing.
func Remove() error {
	conn, err := nftables.New()
	if err != nil {
		return explain("open netfilter", err)
	}
	replaced(conn)
	return explain("remove the redirection", conn.Flush())
}

// replaced deletes the table. It is made first, as one that is not there cannot
// be deleted.
func replaced(conn *nftables.Conn) *nftables.Table {
	table := &nftables.Table{Name: redirect.Table, Family: nftables.TableFamilyINet}
	conn.AddTable(table)
	conn.DelTable(table)
	return table
}

// Counter is what one rule has seen: packets that began a connection.
type Counter struct {
	Chain   redirect.Chain
	Name    string
	Packets uint64
}

// Counters returns those of all rules, in their order.
func Counters() ([]Counter, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, explain("open netfilter", err)
	}
	table := &nftables.Table{Name: redirect.Table, Family: nftables.TableFamilyINet}
	var out []Counter
	for _, chain := range []redirect.Chain{redirect.Output, redirect.Prerouting} {
		rules, err := conn.GetRules(table, &nftables.Chain{Name: string(chain), Table: table})
		if err != nil {
			return nil, explain("read the rules of chain "+string(chain), err)
		}
		for _, r := range rules {
			name, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					out = append(out, Counter{chain, name, c.Packets})
				}
			}
		}
	}
	return out, nil
}

func explain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: %w; it has to run as root with the capability NET_ADMIN", what, err)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%s: %w; does the node's kernel have nf_tables with NAT (nft_chain_nat, nft_redir)?", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// register is the one that every comparison uses.
const register = 1

// expressions says a rule to the kernel.
func expressions(r redirect.Rule) []expr.Any {
	var out []expr.Any
	if r.HasUID {
		out = append(out, &expr.Meta{Key: expr.MetaKeySKUID, Register: register}, equals(binaryutil.NativeEndian.PutUint32(r.UID)))
	}
	if r.Loopback {
		key := expr.MetaKeyIIFNAME
		if r.Chain == redirect.Output {
			key = expr.MetaKeyOIFNAME
		}
		out = append(out, &expr.Meta{Key: key, Register: register}, equals(interfaceName("lo")))
	}
	for _, p := range []struct {
		network netip.Prefix
		source  bool
		op      expr.CmpOp
	}{{r.To, false, expr.CmpOpEq}, {r.NotTo, false, expr.CmpOpNeq}, {r.NotFrom, true, expr.CmpOpNeq}} {
		if p.network.IsValid() {
			out = append(out, inNetwork(p.network, p.source, p.op)...)
		}
	}
	out = append(out, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equals([]byte{unix.IPPROTO_TCP}))
	if r.Port != 0 {
		out = append(out,
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			equals(binary.BigEndian.AppendUint16(nil, r.Port)))
	}
	out = append(out, &expr.Counter{})
	if r.Redirect == 0 {
		return append(out, &expr.Verdict{Kind: expr.VerdictReturn})
	}
	return append(out,
		&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, r.Redirect)},
		&expr.Redir{RegisterProtoMin: register})
}

// inNetwork compares an address of a packet of the network's family.
func inNetwork(network netip.Prefix, source bool, op expr.CmpOp) []expr.Any {
	family, offset, length := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	if network.Addr().Is6() {
		family, offset, length = unix.NFPROTO_IPV6, 24, 16
	}
	if source { // it stands before the destination
		offset -= length
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, equals([]byte{family}),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: length, Mask: mask(network), Xor: make([]byte, length)},
		&expr.Cmp{Op: op, Register: register, Data: network.Masked().Addr().AsSlice()},
	}
}

func mask(network netip.Prefix) []byte {
	out := make([]byte, network.Addr().BitLen()/8)
	for i := range network.Bits() {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

func equals(data []byte) *expr.Cmp {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

// interfaceName is padded as the kernel keeps it.
func interfaceName(name string) []byte {
	out := make([]byte, unix.IFNAMSIZ)
	copy(out, name)
	return out
}
