package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// freeAddress returns a loopback address and port of nobody else. At 127.0.0.1
// any connection that goes out could take the port before it is used.
func freeAddress() (string, error) {
	own := fmt.Sprintf("127.%d.%d.%d:0", 240+rand.IntN(15), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", own)
	if err != nil {
		return "", fmt.Errorf("looking for a free address: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// allFree returns an error if somebody listens where a part of the mesh will.
func allFree(s *mesh.Snapshot) error {
	for _, at := range addressesOf(s) {
		l, err := net.Listen("tcp", at.String())
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("%s is in use, so another demo is probably running on this machine; end it first, or give the Workloads other addresses", at)
		case err != nil:
			return fmt.Errorf("nothing can listen at %s: %w; give the Workload another address", at, err)
		}
		l.Close()
	}
	return nil
}

// addressesOf lists where sidecars and applications listen.
func addressesOf(s *mesh.Snapshot) []netip.AddrPort {
	var out []netip.AddrPort
	for _, w := range s.Workloads {
		out = append(out, inboundOf(w)...)
		for _, p := range w.Ports {
			out = append(out, netip.AddrPortFrom(w.Application, p.Port))
		}
		out = append(out, outboundOf(s, w)...)
	}
	return out
}

// inboundOf lists where a workload's sidecar accepts other sidecars.
func inboundOf(w mesh.Workload) []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range w.Ports {
		out = append(out, netip.AddrPortFrom(w.Address, p.Port))
	}
	return out
}

// outboundOf lists where a workload's application dials services.
func outboundOf(s *mesh.Snapshot, w mesh.Workload) []netip.AddrPort {
	var out []netip.AddrPort
	for _, service := range s.Services {
		for _, p := range service.Ports {
			out = append(out, netip.AddrPortFrom(w.AddressOf(service), p.Port))
		}
	}
	return out
}
