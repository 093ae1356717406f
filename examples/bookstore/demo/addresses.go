package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

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

// closing is how long an address may still be taken by a demo that was killed:
// the kernel frees a process's memory before it closes its sockets.
const closing = 2 * time.Second

// allFree returns an error if somebody listens, and goes on listening, where a
// part of the mesh will.
func allFree(s *mesh.Snapshot) error {
	deadline := time.Now().Add(closing)
	for _, at := range addressesOf(s) {
		err := free(at)
		for errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
			err = free(at)
		}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("%s is in use, so another demo is probably running on this machine; end it first, or give the Workloads other addresses", at)
		case err != nil:
			return fmt.Errorf("nothing can listen at %s: %w; give the Workload another address", at, err)
		}
	}
	return nil
}

func free(at netip.AddrPort) error {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	return l.Close()
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
