package smi

import (
	"fmt"
	"net/netip"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// claims are the places that workloads occupy: what only one of them can have.
type claims map[place]claim

// place is a socket, or a loopback network if port is 0, as seen on a machine.
// Machines can be told apart by their addresses only: every address of
// 127.0.0.0/8 is the one machine that reads the manifests.
type place struct {
	machine netip.Addr
	network netip.Prefix
	port    uint16
}

// claim is who occupies a place, and with what.
type claim struct {
	place  place
	holder mesh.Name
	what   string
	field  string
}

// conflict returns the first place of w that another workload occupies, as a
// problem's field, cause and advice; an empty field means none.
func (c claims) conflict(w mesh.Workload) (field, cause, try string) {
	for _, wanted := range claimsOf(w) {
		held, ok := c[wanted.place]
		if !ok || held.holder == w.Name {
			continue
		}
		if wanted.place.port == 0 {
			return wanted.field,
				fmt.Sprintf("network %s is already used by Workload %s on the same machine.", w.Loopback, held.holder),
				"Set spec.loopback to another /16 network of 127.0.0.0/8."
		}
		return wanted.field,
			fmt.Sprintf("%s would listen on %s, where %s of Workload %s already listens.", wanted.what,
				netip.AddrPortFrom(wanted.place.network.Addr(), wanted.place.port), held.what, held.holder),
			"Use another address."
	}
	return "", "", ""
}

func (c claims) add(w mesh.Workload) {
	for _, wanted := range claimsOf(w) {
		c[wanted.place] = wanted
	}
}

// claimsOf lists what w occupies.
func claimsOf(w mesh.Workload) []claim {
	machine := w.Address
	if machine.IsLoopback() {
		machine = netip.AddrFrom4([4]byte{127})
	}
	out := []claim{{place: place{machine: machine, network: w.Loopback}, holder: w.Name, field: "spec.loopback"}}
	socket := func(a netip.Addr, port uint16, what, field string) {
		at := place{network: netip.PrefixFrom(a, a.BitLen()), port: port}
		if a.IsLoopback() {
			at.machine = machine
		}
		out = append(out, claim{place: at, holder: w.Name, what: what, field: field})
	}
	for _, p := range w.Ports {
		socket(w.Address, p.Port, "the sidecar", "spec.address")
		socket(w.Application, p.Port, "the application", "spec.application")
	}
	return out
}
