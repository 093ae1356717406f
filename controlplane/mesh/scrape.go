package mesh

import (
	"net/netip"
	"slices"
)

// ScrapePort is where a sidecar tells its metrics to the control plane.
const ScrapePort = 15090

// ScrapeAt is where the sidecar of a workload tells its metrics. It does not, and
// why says so, where its application has that port, or where another workload tells
// its own at the same address.
func (s *Snapshot) ScrapeAt(w Workload) (at netip.AddrPort, why string) {
	if slices.ContainsFunc(w.Ports, func(p WorkloadPort) bool { return p.Port == ScrapePort }) {
		return netip.AddrPort{}, "its application has port 15090, at which the sidecar would tell"
	}
	if !w.Captured { // a captured one has its addresses for itself
		first := slices.IndexFunc(s.Workloads, func(o Workload) bool { return o.Address == w.Address })
		if other := s.Workloads[max(first, 0)].Name; other != w.Name {
			return netip.AddrPort{}, "Workload " + other.String() + " has the same address, and tells there"
		}
	}
	return netip.AddrPortFrom(w.Address, ScrapePort), ""
}
