package scenarios

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// road is how a caller gets to a server.
type road int

const (
	// throughSidecar is the road of every application of the mesh.
	throughSidecar road = iota
	// straight is that of a caller that has a good certificate and goes around
	// its own sidecar (smi-rules 4).
	straight
)

// dial opens a connection on a road. A caller from outside knows neither sidecar
// nor certificate: it dials the server's address as it is.
func (h *house) dial(ctx context.Context, c call, by road) (net.Conn, error) {
	server := netip.AddrPortFrom(c.server.Address, c.port.Port).String()
	switch {
	case c.outside():
		return new(net.Dialer).DialContext(ctx, "tcp", server)
	case by == throughSidecar:
		listener := netip.AddrPortFrom(c.caller.AddressOf(c.service), c.request.port)
		return new(net.Dialer).DialContext(ctx, "tcp", listener.String())
	}
	leaf, err := h.certificate(c.caller)
	if err != nil {
		return nil, err
	}
	dialer := tls.Dialer{Config: &tls.Config{
		Certificates: []tls.Certificate{leaf},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"wasmesh"},
		// Leaves have no host name, and who the server is matters to nobody here.
		InsecureSkipVerify: true,
	}}
	return dialer.DialContext(ctx, "tcp", server)
}

// certificate has the mesh's own authority certify a caller, once.
func (h *house) certificate(caller mesh.Workload) (tls.Certificate, error) {
	if leaf, ok := h.leaves[caller.Name]; ok {
		return leaf, nil
	}
	authority, err := ca.Open(h.mesh.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	id := ca.Identity{ServiceAccount: caller.ServiceAccount, Workload: caller.Name, Kind: ca.KindWorkload}
	leaf, err := authority.Issue(key.Public(), id, ca.DefaultLeafLifetime)
	if err != nil {
		return tls.Certificate{}, err
	}
	block, _ := pem.Decode(leaf.Chain)
	if block == nil {
		return tls.Certificate{}, errors.New("the authority's chain is no PEM")
	}
	h.leaves[caller.Name] = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	return h.leaves[caller.Name], nil
}
