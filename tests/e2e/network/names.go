package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Domain ends the cluster's own names.
const Domain = "cluster.local"

// Lookup answers for one name without its last dot, in lower case: its addresses
// or another name, and whether the name is there.
type Lookup func(name string) (addresses []netip.Addr, alias string, found bool)

// ServeNames answers questions over UDP at the node's address until the context
// ends.
func ServeNames(ctx context.Context, lookup Lookup) error {
	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(NodeIP, 53).String())
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			if answer, err := Answer(packet[:n], lookup); err == nil {
				_, _ = conn.WriteTo(answer, from) // who asks will ask again
			}
		}
	}()
	return nil
}

// Answer gives the reply to one question.
func Answer(packet []byte, lookup Lookup) ([]byte, error) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	addresses, alias, found := lookup(name)
	reply := dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	if !found {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	b.EnableCompression()
	if err := errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers()); err != nil {
		return nil, err
	}
	about := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
	if alias != "" {
		target, err := dnsmessage.NewName(alias + ".")
		if err != nil {
			return nil, err
		}
		if err := b.CNAMEResource(about, dnsmessage.CNAMEResource{CNAME: target}); err != nil {
			return nil, err
		}
		about.Name = target
		addresses, _, _ = lookup(alias)
	}
	for _, a := range addresses {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			err = b.AResource(about, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			err = b.AAAAResource(about, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
