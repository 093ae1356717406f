package smi

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// addresses says which service has which offset.
type addresses map[uint16]mesh.Name

// Offsets that a name can hash to: 255 third octets from 1 up, each with the
// 254 last octets that are neither a network's nor a broadcast address.
const (
	thirdOctets = 255
	lastOctets  = 254
)

// offset gives a service its place in every loopback network: from clusterIP if
// it is set, else from a hash of the name, so that it does not depend on which
// other services there are.
func (r *resolver) offset(o mesh.Object, clusterIP string, taken addresses) (uint16, bool) {
	offset := hashOffset(o.Name)
	if clusterIP != "" && clusterIP != "None" {
		a, err := netip.ParseAddr(clusterIP)
		if err != nil || !a.Is4() || !a.IsLoopback() || a.As4()[3] == 0 || a.As4()[3] == 255 {
			r.broken(o, "spec.clusterIP", fmt.Sprintf("%q is not an address for services: those lie in 127.0.0.0/8 and end in 1 to 254.", clusterIP),
				fmt.Sprintf("Set spec.clusterIP to %s, or leave it out.", addressText(taken.free(offset))))
			return 0, false
		}
		octets := a.As4()
		offset = uint16(octets[2])<<8 | uint16(octets[3])
	}
	if holder, ok := taken[offset]; ok {
		r.broken(o, "spec.clusterIP", fmt.Sprintf("its address would end in %d.%d, as that of Service %s already does; the service is left out.", offset>>8, offset&0xff, holder),
			fmt.Sprintf("Set spec.clusterIP to an address with another end, such as %s.", addressText(taken.free(offset))))
		return 0, false
	}
	return offset, true
}

// addressText shows an offset in the default loopback network. Only its last
// two octets count: every workload has a network of its own.
func addressText(offset uint16) string {
	return netip.AddrFrom4([4]byte{127, 127, byte(offset >> 8), byte(offset)}).String()
}

func hashOffset(n mesh.Name) uint16 {
	h := fnv.New32a()
	h.Write([]byte(n.String()))
	return nthOffset(h.Sum32())
}

func nthOffset(n uint32) uint16 {
	n %= thirdOctets * lastOctets
	return uint16(1+n/lastOctets)<<8 | uint16(1+n%lastOctets)
}

// free returns the next offset after this one that no service has; the offset
// itself if there is none left.
func (t addresses) free(offset uint16) uint16 {
	third, last := uint32(offset>>8), uint32(offset&0xff)
	n := (third+thirdOctets-1)%thirdOctets*lastOctets + (last+lastOctets-1)%lastOctets
	for i := range uint32(thirdOctets * lastOctets) {
		if candidate := nthOffset(n + i); t[candidate] == (mesh.Name{}) {
			return candidate
		}
	}
	return offset
}
